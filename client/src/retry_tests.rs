use std::path::PathBuf;

use super::*;

fn ending() -> Error {
    Error::rpc(Kind::ShuttingDown.code(), "", None)
}

fn not_started() -> Error {
    Error::NotStarted { reason: String::new(), tail: String::new(), log: PathBuf::new() }
}

/// How often a failure is tried again when nothing else ever happens.
async fn times(retry: &mut Retry, error: Error) -> usize {
    let mut times = 0;
    while retry.again(&error).await {
        times += 1;
    }
    times
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_ends_is_waited_for_and_not_for_ever() {
    let before = Instant::now();
    assert!(times(&mut Retry::default(), ending()).await > 20);
    let waited = before.elapsed();
    assert!(waited + LONGEST_PAUSE * 2 > PATIENCE && waited <= PATIENCE, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_lost_is_sent_three_times_at_most() {
    assert_eq!(times(&mut Retry::default(), Error::Lost).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_does_not_start_is_waited_for_only_while_another_ends() {
    assert_eq!(times(&mut Retry::default(), not_started()).await, 0);
    let mut retry = Retry::default();
    assert!(retry.again(&ending()).await);
    assert!(times(&mut retry, not_started()).await > 20);
}

#[tokio::test(start_paused = true)]
async fn other_failures_stay_what_they_are() {
    let not_running = Error::NotRunning { socket: PathBuf::from("/run/x") };
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::ShuttingDown);
    let errors = kinds.map(|kind| Error::rpc(kind.code(), "", None)).chain([not_running, Error::Lagged]);
    for error in errors {
        assert!(!Retry::default().again(&error).await, "{error:?}");
    }
}
