"""events.py - reads files of events without TensorBoard: records, their checksums, and the protocol buffers in them."""
import struct

TABLE = []
for i in range(256):
    c = i
    for _ in range(8):
        c = c >> 1 ^ (0x82F63B78 if c & 1 else 0)
    TABLE.append(c)


def crc32c(data):
    c = 0xFFFFFFFF
    for byte in data:
        c = TABLE[(c ^ byte) & 255] ^ c >> 8
    return c ^ 0xFFFFFFFF


def masked(data):
    c = crc32c(data)
    return ((c >> 15 | c << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    at = 0
    while at < len(data):
        length, of_length = struct.unpack("<QI", data[at:at + 12])
        if of_length != masked(data[at:at + 8]):
            raise ValueError("byte %d: the length's checksum is wrong" % at)
        body = data[at + 12:at + 12 + length]
        if len(body) != length:
            raise ValueError("byte %d: a record is cut" % at)
        if struct.unpack("<I", data[at + 12 + length:at + 16 + length])[0] != masked(body):
            raise ValueError("byte %d: the data's checksum is wrong" % at)
        yield body
        at += 16 + length


def fields(data):
    """(number, value) of each field: whole numbers, or bytes."""
    def varint(at):
        value = shift = 0
        while True:
            value |= (data[at] & 127) << shift
            shift += 7
            at += 1
            if data[at - 1] < 128:
                return value, at

    at = 0
    while at < len(data):
        key, at = varint(at)
        if key & 7 == 0:
            value, at = varint(at)
        else:
            if key & 7 == 2:
                n, at = varint(at)
            else:
                n = {1: 8, 5: 4}[key & 7]
            value, at = data[at:at + n], at + n
            if len(value) != n:
                raise ValueError("a field is cut")
        yield key >> 3, value


def doubles(data):
    return list(struct.unpack("<%dd" % (len(data) // 8), data))


def value_of(data):
    """(tag, kind, value)"""
    f = dict(fields(data))
    tag = f[1].decode()
    if 2 in f:
        return tag, "scalar", struct.unpack("<f", f[2])[0]
    if 5 in f:
        h = dict(fields(f[5]))
        return tag, "histogram", {"min": doubles(h[1])[0], "max": doubles(h[2])[0], "num": doubles(h[3])[0],
                                  "sum": doubles(h[4])[0], "squares": doubles(h[5])[0], "limits": doubles(h[6]),
                                  "counts": doubles(h[7])}
    i = dict(fields(f[4]))
    about = dict(fields(f[9])).get(3, b"").decode()
    return tag, "image", {"height": i[1], "width": i[2], "channels": i[3], "png": i[4], "about": about}


def events(path):
    """(step, tag, kind, value) of each value; the kinds "version" and "start" have no tag."""
    for n, body in enumerate(records(open(path, "rb").read())):
        f = dict(fields(body))
        step = f.get(2, 0)
        if n == 0:
            yield step, "", "version", f[3].decode()
        elif 7 in f:
            yield step, "", "start", dict(fields(f[7]))[1]
        else:
            for number, value in fields(f[5]):
                assert number == 1
                yield (step,) + value_of(value)
