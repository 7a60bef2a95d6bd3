#!/usr/bin/python3
"""fault-mount.py FOLDER MOUNT MODE-FILE: FOLDER seen through a file system that can be lost.

The mode file says how every call fares, from the next one on: "ok"; "eio" fails it; "hang" holds it, and whoever
made it sleeps in the kernel until the mode changes, as on storage whose server is gone.
"""
import errno
import os
import sys
import time

from fusepy import FUSE, FuseOSError, Operations

folder, mount, mode_file = sys.argv[1:]


def meet_fault():
    while True:
        with open(mode_file, encoding='ascii') as file:
            mode = file.read().strip()
        if mode == 'eio':
            raise FuseOSError(errno.EIO)
        if mode != 'hang':
            return
        time.sleep(0.1)


def path_of(path):
    return os.path.join(folder, path.lstrip('/'))


class Through(Operations):
    def __call__(self, op, *args):
        if op not in ('init', 'destroy', 'release', 'releasedir'):
            meet_fault()
        return super().__call__(op, *args)

    def getattr(self, path, fh=None):
        found = os.fstat(fh) if fh else os.lstat(path_of(path))
        names = ('st_atime', 'st_ctime', 'st_mtime', 'st_gid', 'st_mode', 'st_nlink', 'st_size', 'st_uid', 'st_blocks', 'st_ino')
        return {name: getattr(found, name) for name in names}

    def access(self, path, mode):
        if not os.access(path_of(path), mode):
            raise FuseOSError(errno.EACCES)

    def chmod(self, path, mode):
        os.chmod(path_of(path), mode)

    def chown(self, path, uid, gid):
        os.lchown(path_of(path), uid, gid)

    def utimens(self, path, times=None):
        os.utime(path_of(path), times)

    def readdir(self, path, fh):
        return ['.', '..', *os.listdir(path_of(path))]

    def readlink(self, path):
        return os.readlink(path_of(path))

    def symlink(self, target, source):
        os.symlink(source, path_of(target))

    def link(self, target, source):
        os.link(path_of(source), path_of(target))

    def rename(self, old, new):
        os.rename(path_of(old), path_of(new))

    def mkdir(self, path, mode):
        os.mkdir(path_of(path), mode)

    def rmdir(self, path):
        os.rmdir(path_of(path))

    def unlink(self, path):
        os.unlink(path_of(path))

    def statfs(self, path):
        found = os.statvfs(path_of(path))
        names = ('f_bavail', 'f_bfree', 'f_blocks', 'f_bsize', 'f_favail', 'f_ffree', 'f_files', 'f_flag', 'f_frsize', 'f_namemax')
        return {name: getattr(found, name) for name in names}

    # The kernel's page cache holds what was read; O_DIRECT of the caller needs no O_DIRECT of ours.
    def create(self, path, mode, fi=None):
        return os.open(path_of(path), os.O_RDWR | os.O_CREAT, mode)

    def open(self, path, flags):
        return os.open(path_of(path), flags & ~(os.O_DIRECT | os.O_CREAT | os.O_EXCL | os.O_TRUNC))

    def truncate(self, path, length, fh=None):
        os.truncate(path_of(path) if fh is None else fh, length)

    def read(self, path, size, offset, fh):
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        return os.pwrite(fh, data, offset)

    def fsync(self, path, datasync, fh):
        (os.fdatasync if datasync else os.fsync)(fh)

    def flush(self, path, fh):
        return 0

    def release(self, path, fh):
        os.close(fh)


FUSE(Through(), mount, foreground=True, allow_other=True, default_permissions=True, attr_timeout=0, entry_timeout=0, big_writes=True, nonempty=True)
