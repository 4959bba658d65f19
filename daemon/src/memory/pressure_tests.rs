use super::*;

fn text(some: u64, full: u64) -> String {
    format!(
        "some avg10=0.00 avg60=0.00 avg300=0.05 total={some}\nfull avg10=0.00 avg60=0.00 avg300=0.05 total={full}\n"
    )
}

#[test]
fn what_linux_tells_is_read() {
    assert_eq!(stalls(&text(70, 44)), Some(Stalls { some: 70, full: 44 }));
    for wrong in ["", "some avg10=0.00\n", "some total=x\nfull total=1\n", "some total=1\n"] {
        assert_eq!(stalls(wrong), None, "{wrong:?}");
    }
}

#[test]
fn a_level_rises_at_once_and_falls_after_a_while() {
    let start = Instant::now();
    let mut meter = Meter::default();
    let mut at = |second: u64, some_ms: u64, full_ms: u64| {
        let stalls = Stalls { some: some_ms * 1000, full: full_ms * 1000 };
        meter.level(Said::Stalls(stalls), start + Duration::from_secs(second))
    };
    // What was before the first look does not count.
    assert_eq!(at(0, 5000, 5000), Level::Calm);
    assert_eq!(at(1, 5099, 5000), Level::Calm);
    assert_eq!(at(2, 5199, 5000), Level::Soft);
    assert_eq!(at(3, 5300, 5100), Level::Hard);
    assert_eq!(at(12, 5300, 5100), Level::Hard);
    assert_eq!(at(13, 5300, 5100), Level::Calm);
    assert_eq!(at(14, 5400, 5100), Level::Soft);
}

#[test]
fn a_level_that_is_told_as_such_is_taken() {
    let now = Instant::now();
    let mut meter = Meter::default();
    assert_eq!(meter.level(Said::Level(Level::Soft), now), Level::Soft);
    assert_eq!(meter.level(Said::Nothing, now + Duration::from_secs(9)), Level::Soft);
    assert_eq!(meter.level(Said::Nothing, now + Duration::from_secs(10)), Level::Calm);
}

#[tokio::test]
async fn it_is_asked_while_a_model_is_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory.pressure");
    std::fs::write(&path, text(0, 0)).unwrap();
    let (needed, is_needed) = watch::channel(false);
    let (levels, mut told) = watch::channel(Level::Calm);
    let watching = watch(Source::File(path.clone()), is_needed, levels).unwrap();
    needed.send_replace(true);
    let mut total = 0;
    while *told.borrow_and_update() != Level::Hard {
        total += 10_000_000;
        std::fs::write(&path, text(total, total)).unwrap();
        tokio::time::sleep(INTERVAL).await;
    }
    needed.send_replace(false);
    told.wait_for(|level| *level == Level::Calm).await.unwrap();
    drop(told);
    tokio::task::spawn_blocking(|| watching.join()).await.unwrap().unwrap();
}
