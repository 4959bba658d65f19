use std::io::Read;
use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;

const LONG: Duration = Duration::from_secs(30);

fn pair() -> (Quiet, StdStream) {
    let (ours, theirs) = StdStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Quiet::new(UnixStream::from_std(ours).unwrap()).unwrap(), theirs)
}

#[tokio::test]
async fn what_comes_is_read_up_to_the_end() {
    let (quiet, mut client) = pair();
    let (mut reader, _) = quiet.split();
    let writing = thread::spawn(move || {
        for piece in ["a piece", ", and another"] {
            client.write_all(piece.as_bytes()).unwrap();
        }
    });
    let mut text = String::new();
    timeout(LONG, reader.read_to_string(&mut text)).await.unwrap().unwrap();
    assert_eq!(text, "a piece, and another");
    writing.join().unwrap();
}

#[tokio::test]
async fn a_write_waits_for_room_and_goes_on() {
    let (quiet, mut client) = pair();
    let (_, mut writer) = quiet.split();
    let sent: Vec<u8> = (0..4_000_000_u32).map(|number| number as u8).collect();
    assert!(timeout(Duration::from_millis(50), writer.write_all(&sent)).await.is_err(), "more than a socket holds");
    assert!(matches!(writer.room, Some(Room::Told(_))));
    // What was written of it is unknown, so it is sent again, and both must be whole numbers of bytes in order.
    let reading = thread::spawn(move || {
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        received
    });
    timeout(LONG, writer.write_all(&sent)).await.unwrap().unwrap();
    assert!(writer.room.is_none(), "nobody listens for room any more");
    writer.shutdown().await.unwrap();
    let received = reading.join().unwrap();
    let first = received.len() - sent.len();
    assert!(received[..first] == sent[..first] && received[first..] == sent);
}

#[tokio::test]
async fn without_a_descriptor_a_write_is_tried_again() {
    let (quiet, mut client) = pair();
    let (_, mut writer) = quiet.split();
    writer.room = Some(Room::Guessed(Box::pin(sleep(GUESS))));
    timeout(LONG, writer.write_all(b"late")).await.unwrap().unwrap();
    let mut received = [0; 4];
    client.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"late");
}

/// How often this thread has gone to sleep.
#[cfg(target_os = "linux")]
fn sleeps() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    count.trim().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_reads_wakes_nobody() {
    const PIECES: u64 = 50;
    let (quiet, mut client) = pair();
    let (_, mut writer) = quiet.split();
    for _ in 0..PIECES {
        writer.write_all(b"a token").await.unwrap();
    }
    let (done, read) = tokio::sync::oneshot::channel();
    let before = sleeps();
    thread::spawn(move || {
        let mut piece = [0; 7];
        for _ in 0..PIECES {
            client.read_exact(&mut piece).unwrap();
            // Long enough for a thread that is woken to sleep again.
            thread::sleep(Duration::from_millis(1));
        }
        done.send(()).unwrap();
    });
    read.await.unwrap();
    let woken = sleeps() - before;
    assert!(woken < PIECES / 2, "woken {woken} times by {PIECES} reads");
}
