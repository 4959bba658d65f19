use std::sync::Arc;
use std::time::Duration;

use engine::{Submission, Work};
use protocol::{Kind, ModelId, Priority};

use super::*;
use crate::app::{App, Source};
use crate::backend::Programs;
use crate::crash::Reports;
use crate::events::Events;
use crate::local::{Key, LocalModel};
use crate::scheduler::Scheduler;
use crate::scheduler::resident::{Claim, Job};

#[tokio::test]
async fn what_comes_with_the_end_is_told_to_come_again() {
    let home = tempfile::tempdir().unwrap();
    let settings = Settings {
        programs: Arc::new(Programs::new("none".into(), "none".into())),
        limits: crate::reload::limits(&crate::config::Settings::default()),
        drain: Duration::ZERO,
        events: Events::default(),
        reports: Reports::new(home.path()),
        pressure: memory::Source::Kernel,
    };
    let stop = CancellationToken::new();
    let (scheduler, scheduling) = Scheduler::start(settings, stop.clone());
    let key = Key { id: ModelId("a".into()), backend: Backend::Mlx };
    let app = App { name: "test".into(), source: Source::Process(1) };
    let job = Job {
        model: Arc::new(LocalModel::new(key, "/models/a".into(), Vec::new(), Vec::new())),
        work: Work::Generate(Submission::greedy(SequenceId(0), &[1, 2], 4)),
        keep_alive: None,
        trace_id: None,
        arrived: Instant::now(),
        claim: Claim { app, priority: Priority::Normal, queue_timeout: None, deadline: None },
    };
    // The loop has not had its turn yet: it finds both.
    let mut updates = scheduler.submit(job).await.unwrap();
    stop.cancel();
    let Some(Update::Failed(error)) = updates.recv().await else { panic!("it is refused") };
    assert_eq!(error.kind, Kind::ShuttingDown);
    scheduling.await.unwrap();
    assert_eq!(scheduler.snapshot().await.unwrap_err().kind, Kind::ShuttingDown);
}
