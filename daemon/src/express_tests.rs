use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::*;

const SOON: Duration = Duration::from_secs(10);

/// Notes on which threads it goes on, once for each message.
async fn work(mut news: mpsc::Receiver<()>) -> Vec<thread::ThreadId> {
    let mut threads = Vec::new();
    while news.recv().await.is_some() {
        threads.push(thread::current().id());
    }
    threads
}

/// Does that on a thread that is none of the runtime's.
async fn elsewhere<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> (thread::ThreadId, T) {
    let runtime = tokio::runtime::Handle::current();
    let (sender, result) = oneshot::channel();
    thread::spawn(move || {
        let _context = runtime.enter();
        drop(sender.send((thread::current().id(), what())));
    });
    result.await.unwrap()
}

/// Waits until somebody waits for the news.
async fn settled<T>(task: &tokio::task::JoinHandle<T>) {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!task.is_finished());
}

#[tokio::test]
async fn what_a_delivery_wakes_goes_on_there() {
    let (news, receiver) = mpsc::channel(8);
    let task = tokio::spawn(express(work(receiver)));
    settled(&task).await;
    let here = thread::current().id();
    news.send(()).await.unwrap();
    settled(&task).await;
    let (there, news) = elsewhere(move || {
        for _ in 0..2 {
            deliver(|| news.try_send(())).unwrap();
        }
        news
    })
    .await;
    drop(news);
    assert_eq!(timeout(SOON, task).await.unwrap().unwrap(), [here, there, there]);
}

#[tokio::test]
async fn work_that_ends_in_a_delivery_gives_its_result_to_the_task() {
    let (news, receiver) = mpsc::channel::<()>(8);
    let task = tokio::spawn(express(work(receiver)));
    settled(&task).await;
    elsewhere(move || deliver(|| drop(news))).await;
    assert!(timeout(SOON, task).await.unwrap().unwrap().is_empty());
}

#[tokio::test]
async fn a_panic_in_a_delivery_is_that_of_the_task() {
    let (news, mut receiver) = mpsc::channel::<()>(8);
    let task = tokio::spawn(express(async move {
        receiver.recv().await;
        panic!("as asked");
    }));
    settled(&task).await;
    elsewhere(move || deliver(|| news.try_send(()))).await.1.unwrap();
    assert!(timeout(SOON, task).await.unwrap().unwrap_err().is_panic());
}

#[tokio::test]
async fn who_drops_it_drops_the_work() {
    let (news, receiver) = mpsc::channel(8);
    let task = tokio::spawn(express(work(receiver)));
    settled(&task).await;
    task.abort();
    timeout(SOON, news.closed()).await.unwrap();
}

#[tokio::test]
async fn work_that_wakes_itself_holds_no_delivery_up() {
    let ends = Arc::new(AtomicBool::new(false));
    let (news, mut receiver) = mpsc::channel(8);
    let task = tokio::spawn(express({
        let ends = Arc::clone(&ends);
        async move {
            receiver.recv().await;
            std::future::poll_fn(|cx| {
                if ends.load(Ordering::Relaxed) {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }
    }));
    settled(&task).await;
    elsewhere(move || deliver(|| news.try_send(()))).await.1.unwrap();
    ends.store(true, Ordering::Relaxed);
    timeout(SOON, task).await.unwrap().unwrap();
}
