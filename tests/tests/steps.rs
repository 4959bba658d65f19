//! What others do to a stream, counted in the engine's steps: an urgent request beside work that nobody waits for, and
//! models that come and go beside one that answers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::model::Files;
use crate::support::{Connection, Daemon, Start, text};

/// Prompts in which this stands are answered with numbers of steps.
const ASKS: &str = "how many steps";

/// A model that goes on for long, with so many milliseconds for each step and prompts in pieces of so many tokens.
fn counting(token_ms: u64, chunk: Option<u32>) -> impl FnOnce(&mut Files) {
    move |files| {
        files.config["fake"] =
            json!({ "token_ms": token_ms, "prefill_chunk": chunk, "repeat": 500, "tell_steps_to": ASKS });
    }
}

fn request(model: &str, prompt: &str, priority: &str, max_tokens: u32) -> Value {
    let options = json!({ "max_tokens": max_tokens });
    json!({ "model": model, "prompt": prompt, "priority": priority, "options": options })
}

/// So many requests of a priority that go on for long: as many as the batch has rows have begun to answer.
fn running(daemon: &Daemon, count: usize, batch: usize, priority: &str) -> Vec<Connection> {
    let mut all: Vec<Connection> = (0..count).map(|_| daemon.connect()).collect();
    for connection in &mut all {
        connection.stream(request("test/counts", "on and on ", priority, 4000));
    }
    for connection in &mut all[..batch] {
        connection.events_until("text");
    }
    all
}

/// What the engine tells of a request.
#[derive(Debug, Clone, Copy)]
struct Told {
    /// Steps that it had done when the request came.
    came: u64,
    /// Steps that it had done before that of the first token.
    first: u64,
    /// Pieces of prompts in between.
    pieces: u64,
    /// Steps that it had done when the answer ended.
    ended: u64,
}

/// Asks with a prompt of so many tokens.
fn ask(connection: &mut Connection, priority: &str, prompt_tokens: usize) -> Told {
    let prompt = format!("{ASKS}{}", "?".repeat(prompt_tokens - ASKS.len()));
    connection.stream(request("test/counts", &prompt, priority, 100));
    let told = text(&connection.events_until("finished"));
    let numbers: Vec<u64> = told.split(' ').map(|number| number.parse().unwrap()).collect();
    let [came, first, pieces] = numbers[..] else { panic!("three numbers: {told}") };
    // A step for each byte, and one for the end.
    Told { came, first, pieces, ended: first + told.len() as u64 + 1 }
}

#[test]
fn an_interactive_request_has_its_first_token_two_steps_after_a_background_batch_of_32_at_most() {
    for batch in [32, 16] {
        let start = Start::fake().args(&["--batch", &batch.to_string()]);
        let daemon = start.model("test/counts", counting(50, Some(10))).run();
        let mut urgent = daemon.connect();
        let idle = ask(&mut urgent, "interactive", 31);
        assert_eq!((idle.first - idle.came, idle.pieces), (0, 3), "alone: {idle:?}");
        let _background = running(&daemon, 32, batch, "background");
        let mut last = ask(&mut daemon.connect(), "interactive", 31);
        for _ in 0..3 {
            let told = ask(&mut urgent, "interactive", 31);
            assert_eq!((told.first - told.came, told.pieces), (0, 3), "none but its own: {told:?} after {last:?}");
            // One is under way when it is asked, and the next begins where the daemon is slow.
            assert!(told.first - last.ended <= 2, "{told:?} after {last:?}, batch {batch}");
            last = told;
        }
    }
}

#[test]
fn less_urgent_rows_hold_for_sixteen_pieces_of_a_prompt_and_equal_ones_for_none() {
    let daemon = Start::fake().args(&["--batch", "8"]).model("test/counts", counting(2, Some(10))).run();
    let background = running(&daemon, 4, 4, "background");
    // 40 pieces, and the last token, whose step gives the first of the answer.
    let told = ask(&mut daemon.connect(), "interactive", 401);
    assert_eq!((told.first - told.came, told.pieces), (2, 40), "each 17th turn has a step too: {told:?}");
    drop(background);
    let _normal = running(&daemon, 4, 4, "normal");
    let told = ask(&mut daemon.connect(), "normal", 401);
    assert_eq!(
        (told.first - told.came, told.pieces),
        (39, 40),
        "a step with each, the last with its first token: {told:?}"
    );
}

#[test]
fn of_sixty_four_short_prompts_at_once_none_waits_for_more_than_a_few_steps() {
    let daemon = Start::fake().args(&["--batch", "64"]).model("test/counts", counting(20, None)).run();
    ask(&mut daemon.connect(), "normal", 31);
    let told = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..64).map(|_| scope.spawn(|| ask(&mut daemon.connect(), "normal", 31))).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect::<Vec<_>>()
    });
    // A turn computes sixteen of them.
    for told in &told {
        assert!(told.first - told.came <= 4, "{told:?}");
    }
}

/// Reads a stream of a model that answers until `done` says so, and tells the longest time between two tokens and when each came.
fn read_on(mut stream: Connection, done: impl Fn() -> bool) -> (Duration, Vec<Instant>) {
    let mut longest = Duration::ZERO;
    let mut times = vec![Instant::now()];
    while !done() {
        stream.event_of("text");
        let now = Instant::now();
        longest = longest.max(now - times[times.len() - 1]);
        times.push(now);
    }
    (longest, times)
}

#[test]
fn a_model_answers_on_while_another_loads_and_a_third_leaves_for_it() {
    let weighs = |fake: Value| move |files: &mut Files| files.config["fake"] = fake;
    let start = Start::fake().args(&["--memory", "1000"]);
    let start = start.model(
        "test/first",
        weighs(json!({ "weight_bytes": 400, "token_bytes": 0, "token_ms": 5,
        "repeat": 500 })),
    );
    let start = start.model("test/third", weighs(json!({ "weight_bytes": 400, "token_bytes": 0 })));
    let daemon =
        start.model("test/loads", weighs(json!({ "weight_bytes": 400, "token_bytes": 0, "load_step_ms": 200 }))).run();
    daemon.call("models.load", json!({ "model": "test/third" })).unwrap();
    let mut stream = daemon.connect();
    stream.stream(request("test/first", "on and on ", "normal", 4000));
    stream.event_of("text");
    let mut follower = daemon.connect();
    follower.call("models.subscribe", json!({})).unwrap();
    let (longest, tokens, steps) = std::thread::scope(|scope| {
        let load = scope.spawn(|| daemon.call("models.load", json!({ "model": "test/loads" })));
        let steps = scope.spawn(move || {
            assert_eq!(follower.event_of("unloaded")["model"], "test/third");
            (0..10).map(|_| (follower.event_of("loading"), Instant::now()).1).collect::<Vec<_>>()
        });
        let (longest, tokens) = read_on(stream, || load.is_finished());
        load.join().unwrap().unwrap();
        (longest, tokens, steps.join().unwrap())
    });
    assert!(longest < Duration::from_millis(250), "{longest:?} without a token");
    for step in steps.windows(2) {
        let between = tokens.iter().filter(|token| (step[0]..step[1]).contains(*token)).count();
        // 40 where nothing else uses the machine.
        assert!(between >= 8, "{between} tokens within a step of the load");
    }
}
