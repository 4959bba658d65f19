use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn a_reader_who_takes_nothing_is_given_up() {
    let (write, _read) = duplex(8);
    let mut write = Impatient::new(write, LIMIT);
    let begun = tokio::time::Instant::now();
    let error = write.write_all(&[0; 9]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(begun.elapsed().as_secs(), LIMIT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_waited_for() {
    let (write, mut read) = duplex(8);
    let mut write = Impatient::new(write, LIMIT);
    let reader = tokio::spawn(async move {
        let mut byte = [0];
        let mut count = 0;
        while read.read(&mut byte).await.unwrap() > 0 {
            count += 1;
            sleep(LIMIT / 2).await;
        }
        count
    });
    write.write_all(&[0; 20]).await.unwrap();
    drop(write);
    assert_eq!(reader.await.unwrap(), 20);
}
