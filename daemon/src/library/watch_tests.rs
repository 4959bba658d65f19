use protocol::{ModelChange, ModelSource};

use super::super::Place;
use super::super::fixture::fill;
use super::*;
use crate::events::{Events, Follower, News};

/// A library that is watched, and what it tells.
struct Watched {
    folder: tempfile::TempDir,
    follower: Follower,
    stop: CancellationToken,
}

async fn watched(make: impl FnOnce(&Path)) -> Watched {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let events = Events::default();
    let others = vec![Place { root: folder.path().join("hub"), source: ModelSource::HuggingFaceCache }];
    let library = Arc::new(Library::new(folder.path().join("own"), others, events.clone()));
    library.look();
    let mut follower = events.follow(None);
    assert!(matches!(follower.next().await, News::Missed(_)));
    let stop = CancellationToken::new();
    tokio::spawn(watch(library, stop.clone()));
    Watched { folder, follower, stop }
}

impl Watched {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until a change is told that is as wanted.
    async fn until(&mut self, what: &str, is: impl Fn(&ModelChange) -> bool) {
        let wait = async {
            loop {
                let News::Events(events) = self.follower.next().await else { panic!("too many events") };
                if events.iter().any(|event| is(&event.change)) {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| panic!("{what} is told"));
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn added(id: &str) -> impl Fn(&ModelChange) -> bool {
    move |change| matches!(change, ModelChange::Added { model } if model.id.0 == id)
}

#[tokio::test]
async fn a_model_that_is_dropped_in_changed_and_removed_is_told() {
    let mut watched = watched(|root| std::fs::create_dir(root.join("own")).unwrap()).await;
    fill(&watched.path("elsewhere"), "llama");
    std::fs::rename(watched.path("elsewhere"), watched.path("own/org_a")).unwrap();
    watched.until("a new model", added("org/a")).await;
    std::fs::remove_file(watched.path("own/org_a/tokenizer.json")).unwrap();
    let partial = |change: &ModelChange| matches!(change, ModelChange::Changed { model } if model.problem.is_some());
    watched.until("its lost file", partial).await;
    std::fs::remove_dir_all(watched.path("own/org_a")).unwrap();
    watched.until("its end", |change| matches!(change, ModelChange::Removed { .. })).await;
}

#[tokio::test]
async fn a_place_that_appears_later_and_comes_again_is_watched() {
    let mut watched = watched(|_| {}).await;
    fill(&watched.path("own/org_a"), "llama");
    watched.until("a model of a new place", added("org/a")).await;
    std::fs::rename(watched.path("own"), watched.path("away")).unwrap();
    watched.until("its end", |change| matches!(change, ModelChange::Removed { .. })).await;
    std::fs::rename(watched.path("away"), watched.path("own")).unwrap();
    watched.until("its return", added("org/a")).await;
    fill(&watched.path("own/org_b"), "llama");
    watched.until("another", added("org/b")).await;
}

#[tokio::test]
async fn a_repository_of_the_cache_that_grows_is_told() {
    let mut watched = watched(|_| {}).await;
    fill(&watched.path("hub/models--org--a/snapshots/aa11"), "llama");
    watched.until("a cached model", added("org/a")).await;
}
