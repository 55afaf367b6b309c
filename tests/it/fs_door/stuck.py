# A FUSE daemon that cannot end once it is killed: stuck.py DIR UID. Its notifier invalidates a name
# of a directory while a caller of mkdir holds the directory's lock and waits for it.
import ctypes, os, struct, sys, threading

libc = ctypes.CDLL(None, use_errno=True)
device = os.open('/dev/fuse', os.O_RDWR)
options = 'fd=%d,rootmode=40000,user_id=%s,group_id=0,allow_other' % (device, sys.argv[2])
if libc.mount(b'muxfs', sys.argv[1].encode(), b'fuse.muxfs', 0, options.encode()) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))

def attributes(inode):
    return struct.pack('<6Q10I', inode, 0, 0, 0, 0, 0, 0, 0, 0, 0o40777, 1, 0, 0, 0, 4096, 0)

def answer(unique, data=b'', error=0):
    os.write(device, struct.pack('<IiQ', 16 + len(data), -error, unique) + data)

def invalidate():
    os.write(device, struct.pack('<IiQQII', 37, 3, 0, 2, 4, 0) + b'none\0')

while True:
    request = os.read(device, 1 << 21)
    length, code, unique, inode = struct.unpack('<IIQQ', request[:24])
    name = request[40:].rstrip(b'\0')
    if code == 26: # INIT
        answer(unique, struct.pack('<4IHH2I2HI', 7, 31, 131072, 0, 12, 9, 1 << 20, 1, 256, 0, 0) + bytes(28))
    elif code == 1 and name == b'd': # LOOKUP
        answer(unique, struct.pack('<4Q2I', 2, 0, 60, 60, 0, 0) + attributes(2))
    elif code == 1:
        answer(unique, error=2)
    elif code == 3: # GETATTR
        answer(unique, struct.pack('<Q2I', 60, 0, 0) + attributes(inode))
    elif code == 9: # MKDIR: never answered
        threading.Thread(target=invalidate).start()
    elif code not in (2, 42): # FORGET
        answer(unique, error=38)
