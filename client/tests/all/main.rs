//! The library and the real program against a fake daemon: bytes on a socket, exit codes, what is printed.

mod fake;
mod library;
