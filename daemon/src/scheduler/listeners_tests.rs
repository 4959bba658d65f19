use tokio::task::JoinSet;

use super::*;

const FIRST: SequenceId = SequenceId(1);

fn token(sequence: SequenceId, id: u32) -> Event {
    Event::Token { sequence, sample: 0, id, logprobs: None }
}

/// With one request, which has room for so much and keeps as much of it.
fn one(room: usize, kept: usize) -> (Listeners, mpsc::Receiver<Update>, JoinSet<()>) {
    let (listeners, mut watches) = (Listeners::default(), JoinSet::new());
    let (updates, receiver) = mpsc::channel(room);
    let watch = watches.spawn(std::future::pending());
    listeners.add(FIRST, updates, kept, watch);
    (listeners, receiver, watches)
}

#[tokio::test]
async fn tokens_go_to_their_request_and_are_counted_once() {
    let (listeners, mut updates, _watches) = one(4, 0);
    assert_eq!(listeners.take(token(FIRST, 7)), None);
    assert_eq!(listeners.take(token(FIRST, 8)), None);
    assert_eq!(updates.recv().await, Some(Update::Token(0, 7, None)));
    let heard = listeners.heard();
    assert_eq!(heard.iter().map(|heard| (heard.sequence, heard.tokens)).collect::<Vec<_>>(), [(FIRST, 2)]);
    assert_eq!(listeners.heard(), [], "nothing came meanwhile");
    listeners.take(token(FIRST, 9));
    assert_eq!(listeners.heard()[0].tokens, 1);
}

#[tokio::test]
async fn a_prompt_that_gets_on_is_heard_of() {
    let (listeners, mut updates, _watches) = one(4, 0);
    assert_eq!(listeners.take(Event::Prefill { sequence: FIRST, done: 1, total: 2 }), None);
    assert_eq!(listeners.heard()[0].tokens, 0);
    assert!(updates.try_recv().is_err(), "nobody else is told");
}

#[tokio::test]
async fn what_is_of_no_listener_is_for_the_loop() {
    let (listeners, updates, _watches) = one(4, 0);
    let memory = Event::Memory(engine::Memory::default());
    assert_eq!(listeners.take(memory.clone()), Some(memory));
    assert_eq!(listeners.take(token(SequenceId(2), 7)), Some(token(SequenceId(2), 7)));
    drop(updates);
    assert_eq!(listeners.take(token(FIRST, 7)), None, "it is about to be cancelled");
    listeners.remove(FIRST);
    assert_eq!(listeners.take(token(FIRST, 8)), Some(token(FIRST, 8)));
}

#[tokio::test]
async fn a_token_without_room_is_for_the_loop_and_nothing_passes_it() {
    let (listeners, mut updates, _watches) = one(1, 0);
    assert_eq!(listeners.take(token(FIRST, 7)), None);
    assert_eq!(listeners.take(token(FIRST, 8)), Some(token(FIRST, 8)));
    updates.recv().await.unwrap();
    assert_eq!(listeners.take(token(FIRST, 9)), Some(token(FIRST, 9)));
    assert!(!listeners.tell(FIRST, Update::Token(0, 8, None)), "the request is given up");
}

#[tokio::test]
async fn progress_takes_no_room_of_tokens() {
    let (listeners, mut updates, _watches) = one(2, 1);
    for place in [3, 2, 1] {
        assert!(listeners.tell(FIRST, Update::Queued(place)));
    }
    assert_eq!(listeners.take(token(FIRST, 7)), None);
    assert_eq!(updates.recv().await, Some(Update::Queued(3)));
    assert_eq!(updates.recv().await, Some(Update::Token(0, 7, None)));
}

#[tokio::test]
async fn the_last_update_closes_the_way() {
    let (listeners, mut updates, mut watches) = one(2, 0);
    let last = Update::Finished(engine::Finished::before_its_start(FIRST, 3));
    assert!(listeners.tell(FIRST, last.clone()));
    assert_eq!(updates.recv().await, Some(last));
    assert_eq!(updates.recv().await, None);
    assert!(watches.join_next().await.unwrap().unwrap_err().is_cancelled());
}
