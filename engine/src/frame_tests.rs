use std::io::ErrorKind;

use super::*;
use crate::message::{Command, SequenceId};

#[test]
fn a_frame_comes_back_as_it_was_written() {
    let sent = [Command::Cancel(SequenceId(7)), Command::Unload];
    let mut wire = Vec::new();
    for command in &sent {
        write(&mut wire, command).unwrap();
    }
    let mut wire = wire.as_slice();
    for command in &sent {
        assert_eq!(read::<Command>(&mut wire).unwrap().as_ref(), Some(command));
    }
    assert_eq!(read::<Command>(&mut wire).unwrap(), None);
}

#[test]
fn a_cut_frame_is_an_error_and_not_an_end() {
    let mut wire = Vec::new();
    write(&mut wire, &Command::Cancel(SequenceId(u64::MAX))).unwrap();
    for cut in 1..wire.len() {
        let error = read::<Command>(&mut &wire[..cut]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "cut at {cut}");
    }
}

#[test]
fn a_length_over_the_limit_is_refused_before_memory_is_taken() {
    let wire = u32::MAX.to_le_bytes();
    assert_eq!(read::<Command>(&mut wire.as_slice()).unwrap_err().kind(), ErrorKind::InvalidData);
}

/// Interrupted by a signal before each of its bytes.
struct Interrupted<'a> {
    bytes: &'a [u8],
    is_next: bool,
}

impl Read for Interrupted<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.is_next = !self.is_next;
        if self.is_next {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = to.len().min(1);
        self.bytes.read(&mut to[..most])
    }
}

#[test]
fn a_signal_ends_no_frame() {
    let mut frame = Vec::new();
    write(&mut frame, &7_u32).unwrap();
    let mut from = Interrupted { bytes: &frame, is_next: false };
    assert_eq!(read(&mut from).unwrap(), Some(7_u32));
    assert_eq!(read::<u32>(&mut from).unwrap(), None);
}
