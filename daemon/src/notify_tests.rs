use std::cell::Cell;

use tokio::sync::mpsc;

use super::*;
use crate::scheduler::Message;

#[tokio::test(start_paused = true)]
async fn only_a_loop_that_takes_messages_gives_signs_of_life() {
    let (sender, mut messages) = mpsc::channel(4);
    let scheduler = Scheduler::played(sender);
    let signs = Cell::new(0);
    let a_loop_that_hangs_after_three = async {
        let mut unanswered = Vec::new();
        while let Some(Message::Beat(reply)) = messages.recv().await {
            if signs.get() < 3 {
                reply.send(()).unwrap();
            } else {
                unanswered.push(reply);
            }
        }
    };
    tokio::select! {
        () = beat(Duration::from_secs(1), &scheduler, || signs.set(signs.get() + 1)) => panic!("the loop has not ended"),
        () = a_loop_that_hangs_after_three => panic!("the handle is there"),
        () = tokio::time::sleep(Duration::from_mins(1)) => {}
    }
    assert_eq!(signs.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_watch_ends_at_once_when_the_scheduler_does() {
    let (sender, mut messages) = mpsc::channel(4);
    let begun = tokio::time::Instant::now();
    let a_loop_that_ends_between_two_signs = async move {
        let Some(Message::Beat(reply)) = messages.recv().await else { panic!("it is asked for a sign") };
        reply.send(()).unwrap();
    };
    let scheduler = Scheduler::played(sender);
    tokio::join!(beat(Duration::from_mins(1), &scheduler, || {}), a_loop_that_ends_between_two_signs);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn no_watch_begins_without_a_scheduler() {
    let (sender, messages) = mpsc::channel(4);
    drop(messages);
    beat(Duration::from_secs(1), &Scheduler::played(sender), || panic!("nobody is alive")).await;
}
