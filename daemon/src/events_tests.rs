use protocol::ModelId;

use super::*;

fn loading(model: &str, done_bytes: u64) -> ModelChange {
    ModelChange::Loading { model: ModelId(model.into()), done_bytes, total_bytes: 10 }
}

fn loaded(model: &str) -> ModelChange {
    ModelChange::Loaded { model: ModelId(model.into()) }
}

fn numbers(news: News) -> Vec<u64> {
    match news {
        News::Events(events) => events.into_iter().map(|event| event.seq).collect(),
        News::Missed(last) => panic!("missed what came before {last}"),
    }
}

#[tokio::test]
async fn who_knows_nothing_is_told_so_and_then_hears_what_comes() {
    let events = Events::beginning_at(100);
    events.tell(loaded("a"));
    let mut follower = events.follow(None);
    assert_eq!(follower.next().await, News::Missed(101));
    events.tell(loaded("b"));
    events.tell(loaded("c"));
    assert_eq!(numbers(follower.next().await), [102, 103]);
}

#[tokio::test]
async fn who_comes_back_hears_what_it_missed() {
    let events = Events::beginning_at(100);
    for model in ["a", "b", "c"] {
        events.tell(loaded(model));
    }
    assert_eq!(numbers(events.follow(Some(101)).next().await), [102, 103]);
    let mut up_to_date = events.follow(Some(103));
    let told = async { events.tell(loaded("d")) };
    let (news, ()) = tokio::join!(up_to_date.next(), told);
    assert_eq!(numbers(news), [104]);
}

#[tokio::test]
async fn who_was_away_too_long_or_comes_from_elsewhere_begins_anew() {
    let events = Events::beginning_at(100);
    for number in 0..KEPT + 5 {
        events.tell(loaded(&number.to_string()));
    }
    let last = 100 + KEPT as u64 + 5;
    for stranger in [0, 99, 104, last + 1, u64::MAX] {
        assert_eq!(events.follow(Some(stranger)).next().await, News::Missed(last), "{stranger}");
    }
    assert_eq!(numbers(events.follow(Some(105)).next().await).len(), KEPT);
}

#[tokio::test]
async fn of_progress_only_the_latest_is_kept() {
    let events = Events::beginning_at(0);
    events.tell(loaded("a"));
    for done in 0..5000 {
        events.tell(loading("b", done));
        events.tell(loading("c", done));
    }
    let News::Events(kept) = events.follow(Some(0)).next().await else { panic!("nothing was dropped") };
    let changes: Vec<_> = kept.into_iter().map(|event| event.change).collect();
    assert_eq!(changes, [loaded("a"), loading("b", 4999), loading("c", 4999)]);
}
