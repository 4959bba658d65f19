//! Downloads from a hub that fails on demand. Bytes are counted where they are sent.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::{FileState, PullState};
use talkied_hub::{Content, Fault, Hub, Kind as Wrong, Match, Repo};

use super::*;
use crate::events::Follower;
use crate::library::manifest::Manifest;

/// Bytes of the weights: three segments, the last one short.
const WEIGHTS: u64 = 70 << 20;

/// Bytes of the other files, and slack for what a client asks twice.
const SMALL: u64 = 1000;

const NAME: &str = "model.safetensors";

/// Long enough for any test here.
const PATIENCE: Duration = Duration::from_mins(1);

struct Setup {
    hub: Hub,
    folder: tempfile::TempDir,
    settings: Settings,
}

/// A daemon's downloads as long as it lives.
struct Running {
    pulls: Pulls,
    follower: Follower,
    library: Arc<Library>,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

fn id() -> ModelId {
    ModelId("org/name".into())
}

impl Setup {
    /// A hub with one repository.
    fn new(repo: Repo) -> Self {
        let hub = Hub::start();
        hub.add(repo);
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(folder.path().join("models"), hub.endpoint(), None);
        settings.patience = Duration::from_millis(300);
        settings.ways = Ways { connections: 4, give_up: Duration::from_secs(2) };
        Self { hub, folder, settings }
    }

    fn whole() -> Self {
        Self::new(Repo::new("org/name", 1).with_model(WEIGHTS, 7))
    }

    fn run(&self) -> Running {
        let events = Events::default();
        let library = Arc::new(Library::new(self.settings.root.clone(), Vec::new(), events.clone()));
        let stop = CancellationToken::new();
        let follower = events.follow(None);
        let (pulls, task) = Pulls::start_loop(self.settings.clone(), Arc::clone(&library), events, stop.clone());
        Running { pulls, follower, library, task, stop }
    }

    fn installed(&self) -> PathBuf {
        self.settings.root.join("org_name")
    }

    /// Whether nothing of a download is left.
    fn is_clean(&self) -> bool {
        fs::read_dir(self.settings.pulls()).map_or(0, Iterator::count) == 0
    }
}

impl Running {
    async fn start(&self) -> Pull {
        self.pulls.start(id(), None).await.unwrap()
    }

    /// Waits until the download is as wanted.
    async fn until(&mut self, what: &str, is: impl Fn(&Pull) -> bool) -> Pull {
        let wait = async {
            loop {
                if let Some(pull) = self.pulls.get(id()).await.unwrap().filter(|pull| is(pull)) {
                    return pull;
                }
                self.follower.next().await;
            }
        };
        let last = tokio::time::timeout(PATIENCE, wait).await;
        let Ok(pull) = last else { panic!("{what}: {:?}", self.pulls.get(id()).await) };
        pull
    }

    async fn rest(&mut self) -> Pull {
        self.until("it comes to rest", |pull| pull.state.is_at_rest()).await
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// Every byte of the weights was sent once, but for what lay in the system's buffers of the four connections when they
/// were left: some 200 KiB each where nothing paces the hub.
fn once(sent: u64) {
    assert!((WEIGHTS..=WEIGHTS + 4 * (256 << 10)).contains(&sent), "{sent} of {WEIGHTS}");
}

/// Downloads a whole model from a hub with these faults, and returns how many bytes of weights the hub has sent.
async fn check(faults: Vec<Fault>) -> u64 {
    let setup = Setup::whole();
    for fault in faults {
        setup.hub.fail(fault);
    }
    let mut running = setup.run();
    running.start().await;
    let pull = running.rest().await;
    assert_eq!((pull.state, pull.error), (PullState::Done, None));
    assert!(running.library.find(&id()).unwrap().ready().is_ok());
    let verified = running.library.verify(&id(), || true).unwrap();
    assert!(verified.ok && verified.files.iter().all(|file| file.state == FileState::Ok), "{verified:?}");
    assert!(setup.is_clean());
    running.end().await;
    setup.hub.sent(NAME)
}

#[tokio::test]
async fn a_model_is_downloaded_verified_and_installed() {
    let setup = Setup::whole();
    let mut running = setup.run();
    let begun = running.start().await;
    assert!(matches!(begun.state, PullState::Queued | PullState::Planning), "{begun:?}");
    let going = running.until("it downloads", |pull| pull.done_bytes > 0).await;
    assert!(going.total_bytes.unwrap() >= WEIGHTS && going.revision.is_some());
    let pull = running.rest().await;
    assert_eq!((pull.state, pull.done_bytes), (PullState::Done, pull.total_bytes.unwrap()));
    assert_eq!(setup.hub.sent(NAME), WEIGHTS, "every byte once");
    let manifest = Manifest::read(&setup.installed()).unwrap();
    assert_eq!((manifest.id, manifest.revision, manifest.files.len()), (id(), pull.revision, 3));
    assert!(running.pulls.list().await.unwrap().is_empty(), "what is done is not in the list");
    // Once more: nothing is to do.
    running.start().await;
    assert_eq!(running.rest().await.state, PullState::Done);
    assert_eq!(setup.hub.sent(NAME), WEIGHTS);
    running.end().await;
}

#[tokio::test]
async fn connections_that_break_off_are_gone_on_with() {
    let drop = |times, after| Fault::times(times, Match::File(NAME.into()), Wrong::Drop(after));
    let sent = check(vec![drop(3, 1 << 20), drop(1, 0), drop(2, 5 << 20)]).await;
    assert_eq!(sent, WEIGHTS, "no byte twice");
}

#[tokio::test]
async fn a_body_that_is_too_short_is_gone_on_with() {
    let sent = check(vec![Fault::times(2, Match::File(NAME.into()), Wrong::Short(100))]).await;
    assert_eq!(sent, WEIGHTS);
}

#[tokio::test]
async fn a_server_that_stalls_is_left() {
    let sent = check(vec![Fault::times(2, Match::File(NAME.into()), Wrong::Stall(1 << 20))]).await;
    assert_eq!(sent, WEIGHTS);
}

#[tokio::test]
async fn wrong_bytes_are_found_and_only_that_file_comes_again() {
    let setup = Setup::whole();
    setup.hub.fail(Fault::times(3, Match::File(NAME.into()), Wrong::WrongByte(WEIGHTS / 2)));
    let mut running = setup.run();
    running.start().await;
    let pull = running.rest().await;
    assert_eq!((pull.state, pull.refetched_bytes), (PullState::Done, WEIGHTS));
    assert_eq!(setup.hub.sent(NAME), 2 * WEIGHTS);
    let small = setup.hub.sent("config.json") + setup.hub.sent("tokenizer.json");
    assert!(small < SMALL / 10, "{small}");
    running.end().await;
}

#[tokio::test]
async fn bytes_that_stay_wrong_are_never_installed() {
    let setup = Setup::whole();
    setup.hub.fail(Fault::always(Match::File(NAME.into()), Wrong::WrongByte(5)));
    let mut running = setup.run();
    running.start().await;
    let pull = running.rest().await;
    let error = pull.error.unwrap();
    assert_eq!((pull.state, error.kind), (PullState::Failed, Kind::DownloadDamaged));
    assert!(error.message.contains(NAME), "{}", error.message);
    assert!(!setup.installed().exists());
    setup.hub.heal();
    running.pulls.resume(id()).await.unwrap();
    assert_eq!(running.rest().await.state, PullState::Done);
    running.end().await;
}

#[tokio::test]
async fn a_server_that_has_enough_is_waited_for() {
    let busy = |status, retry: Option<&str>| Wrong::Status(status, retry.map(str::to_owned));
    let sent = check(vec![
        Fault::times(1, Match::Info, busy(503, None)),
        Fault::times(1, Match::Resolve(NAME.into()), busy(429, Some("0"))),
        Fault::times(2, Match::File(NAME.into()), busy(429, Some("Sun, 06 Nov 1994 08:49:37 GMT"))),
        Fault::times(1, Match::File("config.json".into()), busy(500, None)),
    ])
    .await;
    assert_eq!(sent, WEIGHTS);
}

#[tokio::test]
async fn a_place_whose_time_is_over_is_asked_for_again() {
    let over = Fault::times(2, Match::File(NAME.into()), Wrong::Status(403, None));
    // The first refusal comes before there is a place to forget.
    assert_eq!(check(vec![over]).await, WEIGHTS);
}

#[tokio::test]
async fn a_server_without_ranges_sends_the_file_in_one_piece() {
    let sent = check(vec![Fault::always(Match::File(NAME.into()), Wrong::IgnoreRanges)]).await;
    assert!(sent >= WEIGHTS, "{sent}");
}

#[tokio::test]
async fn a_range_that_was_not_asked_for_is_not_taken() {
    once(check(vec![Fault::times(2, Match::File(NAME.into()), Wrong::WrongRange)]).await);
}

#[tokio::test]
async fn a_hub_that_never_answers_is_given_up_with_its_name() {
    let setup = Setup::whole();
    let mut settings = setup.settings.clone();
    settings.endpoint = "http://127.0.0.1:1".into();
    let setup = Setup { settings, ..setup };
    let mut running = setup.run();
    running.start().await;
    let pull = running.rest().await;
    let error = pull.error.unwrap();
    assert_eq!((pull.state, error.kind), (PullState::Failed, Kind::HubUnavailable));
    assert!(error.message.contains("127.0.0.1 cannot be reached"), "{}", error.message);
    running.end().await;
}

#[tokio::test]
async fn a_hub_that_dies_in_the_middle_keeps_what_came() {
    let setup = Setup::whole();
    setup.hub.fail(Fault::times(1, Match::File(NAME.into()), Wrong::Drop(3 << 20)));
    setup.hub.fail(Fault::always(Match::File(NAME.into()), Wrong::Drop(0)));
    let mut running = setup.run();
    running.start().await;
    let pull = running.rest().await;
    assert_eq!((pull.state, pull.error.unwrap().kind), (PullState::Failed, Kind::HubUnavailable));
    assert!((3 << 20..4 << 20).contains(&pull.done_bytes), "{}", pull.done_bytes);
    setup.hub.heal();
    running.pulls.resume(id()).await.unwrap();
    assert_eq!(running.rest().await.state, PullState::Done);
    assert_eq!(setup.hub.sent(NAME), WEIGHTS);
    running.end().await;
}

#[tokio::test]
async fn a_pause_keeps_every_byte_also_over_a_restart() {
    let setup = Setup::whole();
    setup.hub.fail(Fault::times(3, Match::File(NAME.into()), Wrong::Stall(2 << 20)));
    let mut running = setup.run();
    running.start().await;
    running.until("some came", |pull| pull.done_bytes > 2 << 20).await;
    let paused = running.pulls.pause(id()).await.unwrap();
    assert_eq!(paused.state, PullState::Paused);
    running.end().await;
    let mut running = setup.run();
    let listed = running.pulls.list().await.unwrap();
    assert_eq!((listed[0].state, listed[0].done_bytes), (PullState::Paused, paused.done_bytes));
    assert_eq!(listed[0].total_bytes, paused.total_bytes);
    setup.hub.heal();
    running.pulls.resume(id()).await.unwrap();
    assert_eq!(running.rest().await.state, PullState::Done);
    once(setup.hub.sent(NAME));
    running.end().await;
}

#[tokio::test]
async fn a_daemon_that_ends_goes_on_when_it_is_back_at_the_commit_it_began_with() {
    let setup = Setup::whole();
    setup.hub.fail(Fault::times(3, Match::File(NAME.into()), Wrong::Stall(2 << 20)));
    let mut running = setup.run();
    running.start().await;
    let begun = running.until("some came", |pull| pull.done_bytes > 2 << 20).await;
    running.end().await;
    setup.hub.heal();
    // The branch names something else meanwhile.
    setup.hub.add(Repo::new("org/name", 2).with_model(1 << 20, 8));
    let mut running = setup.run();
    let pull = running.rest().await;
    assert_eq!((pull.state, pull.revision), (PullState::Done, begun.revision));
    once(setup.hub.sent(NAME));
    running.end().await;
}

#[tokio::test]
async fn a_cancelled_download_leaves_nothing_at_any_stage() {
    for after in [0, 1 << 20, 30 << 20] {
        let setup = Setup::whole();
        setup.hub.fail(Fault::always(Match::File(NAME.into()), Wrong::Stall(after)));
        let mut running = setup.run();
        running.start().await;
        running.until("it is far enough", |pull| pull.done_bytes >= after && pull.total_bytes.is_some()).await;
        assert_eq!(running.pulls.cancel(id()).await.unwrap().state, PullState::Cancelled);
        assert!(setup.is_clean() && !setup.installed().exists());
        assert!(running.pulls.list().await.unwrap().is_empty());
        assert_eq!(running.pulls.cancel(id()).await.unwrap_err().kind, Kind::PullNotFound);
        setup.hub.heal();
        running.start().await;
        assert_eq!(running.rest().await.state, PullState::Done);
        running.end().await;
    }
}

#[tokio::test]
async fn two_who_want_one_model_share_one_download() {
    let setup = Setup::whole();
    setup.hub.slow(20 << 20);
    let mut running = setup.run();
    let (one, two) = tokio::join!(running.start(), running.start());
    assert_eq!((one.model, running.pulls.list().await.unwrap().len()), (two.model, 1));
    let error = running.pulls.start(id(), Some("v2".into())).await.unwrap_err();
    assert!(error.message.contains("at revision \"main\""), "{}", error.message);
    running.rest().await;
    assert_eq!(setup.hub.sent(NAME), WEIGHTS);
    running.end().await;
}

#[tokio::test]
async fn what_is_told_never_falls_and_the_total_is_known_first() {
    let setup = Setup::whole();
    setup.hub.slow(20 << 20);
    setup.hub.fail(Fault::times(2, Match::File(NAME.into()), Wrong::WrongByte(9)));
    let mut running = setup.run();
    running.start().await;
    let (done, total) = (AtomicU64::new(0), AtomicU64::new(0));
    let watched = |pull: &Pull| {
        let before = done.fetch_max(pull.done_bytes, Ordering::Relaxed);
        assert!(pull.done_bytes >= before, "{} after {before}", pull.done_bytes);
        assert!(pull.done_bytes == 0 || pull.total_bytes.is_some());
        if let Some(bytes) = pull.total_bytes {
            let known = total.swap(bytes, Ordering::Relaxed);
            assert!(known == 0 || known == bytes);
        }
        pull.state.is_at_rest()
    };
    assert_eq!(running.until("it is done", watched).await.state, PullState::Done);
    running.end().await;
}

/// What a hub refuses: the kind, words of it, and nothing is left.
async fn refused(repo: Repo, kind: Kind, words: &str) {
    let setup = Setup::new(repo);
    let mut running = setup.run();
    running.start().await;
    let pull = running.rest().await;
    let error = pull.error.unwrap();
    assert_eq!((pull.state, error.kind), (PullState::Failed, kind), "{}", error.message);
    assert!(error.message.contains(words), "{}", error.message);
    assert!(!error.message.contains("secret"));
    assert!(setup.is_clean() && !setup.installed().exists());
    running.end().await;
}

#[tokio::test]
async fn what_cannot_be_had_is_refused_in_words() {
    let model = |id: &str| Repo::new(id, 1).with_model(1 << 20, 1);
    refused(model("org/other"), Kind::RepositoryNotFound, "org/name is not on http://127.0.0.1").await;
    refused(model("org/name").private("secret"), Kind::RepositoryNotFound, "is private").await;
    refused(model("org/name").gated("secret"), Kind::AccessDenied, "accept its terms").await;
    let gguf = Repo::new("org/name", 1).large("model.gguf", Content::given("x"));
    refused(gguf, Kind::NotSupported, "import").await;
    let pickle = Repo::new("org/name", 1).large("pytorch_model.bin", Content::given("x"));
    refused(pickle, Kind::NotSupported, "pickled").await;
    refused(model("org/name").small("../evil.json", "x"), Kind::DownloadDamaged, "could lead elsewhere").await;
    let whisper = Repo::new("org/name", 1)
        .small("config.json", br#"{"model_type": "whisper"}"#.to_vec())
        .small("tokenizer.json", "{}")
        .large(NAME, Content::weights(WEIGHTS, 1));
    let setup = Setup::new(whisper);
    let mut running = setup.run();
    running.start().await;
    let error = running.rest().await.error.unwrap();
    assert!(error.kind == Kind::NotSupported && error.message.contains("whisper"), "{}", error.message);
    assert_eq!(setup.hub.sent(NAME), 0, "found before the weights came");
    running.end().await;
}

#[tokio::test]
async fn a_revision_that_is_not_there_and_ids_that_are_none() {
    let setup = Setup::whole();
    let mut running = setup.run();
    running.pulls.start(id(), Some("no/such".into())).await.unwrap();
    let error = running.rest().await.error.unwrap();
    assert!(error.kind == Kind::RepositoryNotFound && error.message.contains("no/such"), "{}", error.message);
    for (model, revision) in
        [("name", None), ("../x", None), ("", None), ("org/name", Some("")), ("org/name", Some("a\nb"))]
    {
        let started = running.pulls.start(ModelId(model.into()), revision.map(str::to_owned)).await;
        assert_eq!(started.unwrap_err().kind, Kind::InvalidParams, "{model:?} {revision:?}");
    }
    running.end().await;
}

#[tokio::test]
async fn a_renamed_repository_is_followed() {
    let setup = Setup::new(Repo::new("org/name", 1).renamed_to("new-org/name"));
    setup.hub.add(Repo::new("new-org/name", 1).with_model(1 << 20, 1));
    let mut running = setup.run();
    running.start().await;
    assert_eq!(running.rest().await.state, PullState::Done);
    running.end().await;
}

#[tokio::test]
async fn a_disk_without_room_is_told_with_both_numbers_before_the_first_byte() {
    let mut setup = Setup::whole();
    setup.settings.free = |_| Ok(1 << 20);
    let mut running = setup.run();
    running.start().await;
    let error = running.rest().await.error.unwrap();
    assert_eq!(error.kind, Kind::DiskFull);
    assert!(error.message.contains("has 1048576 bytes free, but"), "{}", error.message);
    assert_eq!(setup.hub.sent(NAME), 0);
    running.end().await;
}

#[test]
fn a_disk_that_is_full_before_anything_is_known_is_told_without_numbers() {
    let error = PullError::storage(
        "write",
        Path::new("/models/pull.json"),
        &io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()),
    );
    assert_eq!(error.to_string(), "/models/pull.json cannot be written, for its disk is full: make room");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_told() {
    let mut setup = Setup::whole();
    setup.settings.root = "/proc/models".into();
    let mut running = setup.run();
    running.start().await;
    let error = running.rest().await.error.unwrap();
    assert_eq!(error.kind, Kind::StorageFailed);
    assert!(error.message.contains("/proc/models"), "{}", error.message);
    running.end().await;
}

#[tokio::test]
async fn two_daemons_on_one_folder_do_not_share_a_download() {
    let setup = Setup::whole();
    setup.hub.slow(10 << 20);
    let mut first = setup.run();
    first.start().await;
    first.until("it downloads", |pull| pull.done_bytes > 0).await;
    let mut second = setup.run();
    second.start().await;
    let error = second.rest().await.error.unwrap();
    assert!(error.kind == Kind::StorageFailed && error.message.contains("another talkied"), "{}", error.message);
    assert_eq!(first.rest().await.state, PullState::Done);
    first.end().await;
    second.end().await;
}

#[tokio::test]
async fn a_newer_commit_replaces_a_model_and_fetches_only_what_changed() {
    let setup = Setup::whole();
    let mut running = setup.run();
    running.start().await;
    running.rest().await;
    let next = Repo::new("org/name", 2).with_model(WEIGHTS, 7).small("chat_template.jinja", "{{ messages }}");
    setup.hub.add(next.clone());
    running.start().await;
    let pull = running
        .until("it is done", |pull| pull.state.is_at_rest() && pull.revision.as_ref() == Some(&next.commit))
        .await;
    assert_eq!(pull.state, PullState::Done);
    assert_eq!(setup.hub.sent(NAME), WEIGHTS, "the weights are the same");
    assert!(setup.installed().join("chat_template.jinja").exists());
    assert_eq!(fs::read_dir(&setup.settings.root).unwrap().count(), 2, "the model and the empty folder of downloads");
    // A model that was damaged is mended by another download of it.
    let weights = setup.installed().join(NAME);
    let mut bytes = fs::read(&weights).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(&weights, bytes).unwrap();
    running.start().await;
    running.until("it is done", |pull| pull.state.is_at_rest() && pull.done_bytes > 0).await;
    assert!(running.library.verify(&id(), || true).unwrap().ok);
    running.end().await;
}

#[tokio::test]
async fn a_limit_is_kept() {
    let mut setup = Setup::new(Repo::new("org/name", 1).with_model(4 << 20, 1));
    setup.settings.limit = Some(4 << 20);
    let mut running = setup.run();
    let begin = std::time::Instant::now();
    running.start().await;
    assert_eq!(running.rest().await.state, PullState::Done);
    assert!(begin.elapsed() > Duration::from_millis(800), "{:?}", begin.elapsed());
    running.end().await;
    drop(setup.folder);
}
