use std::os::unix::net::{UnixDatagram, UnixStream};

use super::*;

#[test]
fn nothing_passed_is_nothing_adopted_and_asking_again_gives_nothing() {
    assert!(passed().unwrap().is_none());
    assert!(passed().unwrap().is_none());
}

#[test]
fn a_passed_socket_listens_without_blocking() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let adopted = listener(OwnedFd::from(UnixListener::bind(&path).unwrap())).unwrap();
    assert_eq!(adopted.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let _client = UnixStream::connect(&path).unwrap();
    adopted.accept().unwrap();
}

#[test]
fn what_is_no_unix_stream_socket_is_refused() {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let datagrams = UnixDatagram::unbound().unwrap();
    for wrong in [OwnedFd::from(tcp), OwnedFd::from(datagrams)] {
        assert_eq!(listener(wrong).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    listener(OwnedFd::from(std::fs::File::open("/dev/null").unwrap())).unwrap_err();
}
