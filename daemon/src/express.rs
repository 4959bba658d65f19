//! Work that goes on at once, on the thread that has news for it, and not on one of the runtime's that is woken for it.
//!
//! To wake a thread and to have it run a task takes longer than the task needs for a token. So whoever sends an answer
//! (`rpc::generate`) or gathers it (`provider::registry`) does it in [`express`], and the thread that reads an engine
//! (`process`) says what it has heard in [`deliver`]: what this wakes is carried on there and then. All other wakes, and
//! those of all other tasks, go by the runtime.

use std::cell::RefCell;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;

/// How often a delivery carries work on that wakes itself, before it leaves that to the runtime.
const ROUNDS: usize = 64;

thread_local! {
    static WOKEN: RefCell<Woken> = const { RefCell::new(Woken { is_open: false, riders: Vec::new() }) };
}

/// What the delivery of a thread has woken.
struct Woken {
    /// Whether there is a delivery.
    is_open: bool,
    riders: Vec<Arc<dyn Rider>>,
}

/// Carries `work` on in the task that awaits this, and in deliveries that wake it. Dropping it drops the work.
pub fn express<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> impl Future<Output = T> + Send {
    Express(Arc::new(Work { state: Mutex::new(State::Going(Box::pin(work))), task: AtomicWaker::new() }))
}

/// Does `news`, then carries on what this has woken. Must be called within a runtime's context, and not within itself.
pub fn deliver<T>(news: impl FnOnce() -> T) -> T {
    WOKEN.with_borrow_mut(|woken| woken.is_open = true);
    let told = news();
    for _ in 0..ROUNDS {
        let Some(rider) = WOKEN.with_borrow_mut(|woken| woken.riders.pop()) else { break };
        rider.ride();
    }
    while let Some(rider) = WOKEN.with_borrow_mut(|woken| {
        woken.is_open = false;
        woken.riders.pop()
    }) {
        rider.leave();
    }
    told
}

/// Work that a delivery has woken.
trait Rider: Send + Sync {
    /// Goes on here.
    fn ride(self: Arc<Self>);
    /// Goes on in its task.
    fn leave(&self);
}

struct Express<T: Send + 'static>(Arc<Work<T>>);

struct Work<T> {
    /// Held by the one thread that carries it on.
    state: Mutex<State<T>>,
    /// The task that awaits it.
    task: AtomicWaker,
}

enum State<T> {
    Going(BoxFuture<'static, T>),
    /// With its result, or what it panicked with: the task that awaits it is to have that.
    Ended(thread::Result<T>),
    Gone,
}

impl<T: Send + 'static> Work<T> {
    /// Whether it has ended.
    fn go_on(self: &Arc<Self>) -> bool {
        let waker = Waker::from(Arc::clone(self));
        let mut state = self.state();
        let State::Going(work) = &mut *state else { return true };
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut Context::from_waker(&waker))));
        *state = match polled {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(result)) => State::Ended(Ok(result)),
            Err(panic) => State::Ended(Err(panic)),
        };
        true
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static> Rider for Work<T> {
    fn ride(self: Arc<Self>) {
        if self.go_on() {
            self.leave();
        }
    }

    fn leave(&self) {
        self.task.wake();
    }
}

impl<T: Send + 'static> Wake for Work<T> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let rides = WOKEN.try_with(|woken| {
            let mut woken = woken.borrow_mut();
            if woken.is_open {
                woken.riders.push(Arc::clone(self) as Arc<dyn Rider>);
            }
            woken.is_open
        });
        // A thread that is ending has no delivery.
        if !rides.unwrap_or(false) {
            self.leave();
        }
    }
}

impl<T: Send + 'static> Future for Express<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.0.task.register(cx.waker());
        if !self.0.go_on() {
            return Poll::Pending;
        }
        let state = mem::replace(&mut *self.0.state(), State::Gone);
        match state {
            State::Ended(Ok(result)) => Poll::Ready(result),
            State::Ended(Err(panic)) => resume_unwind(panic),
            // Whoever has its result asks for no more.
            State::Going(_) | State::Gone => Poll::Pending,
        }
    }
}

impl<T: Send + 'static> Drop for Express<T> {
    fn drop(&mut self) {
        // Channels that wake the work hold on to it, and it holds them.
        let state = mem::replace(&mut *self.0.state(), State::Gone);
        drop(state);
    }
}

#[cfg(test)]
#[path = "express_tests.rs"]
mod tests;
