//! All commands but `generate`: what goes out, what is printed, and without a daemon.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake::{Call, Ended, Fake, Seen, run, talkiectl};

pub fn model(more: &Value) -> Value {
    let mut model = json!({
        "id": "org/x", "name": "x", "display_name": "x", "size": 1_834_000_000_u64, "type": "local", "provider": "mlx", "source": "library",
        "is_installed": true, "is_loaded": true, "path": "/models/org_x", "state": "complete",
    });
    model.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    model
}

fn warm() -> Value {
    model(&json!({"residency": {
        "state": "idle", "loaded_share": 1.0, "device": "Apple M3", "memory_bytes": 1_900_000_000_u64,
        "running": 0, "waiting": 0, "keep_alive": 3600, "expires_in_ms": 3_600_000,
    }}))
}

fn status() -> Value {
    json!({
        "version": "0.1.0", "protocol": 1, "pid": 4242, "uptime_ms": 5000, "socket": "/s", "models_dir": "/m",
        "connections": 1, "residents": [warm()], "requests": [], "memory": {"pressure": "calm", "pools": []}, "finished": 0, "failed": 0,
    })
}

/// The call a command makes, and how it ends when that is answered with `result`.
fn check(arguments: &[&str], result: Value) -> ((String, Value), Ended) {
    let fake = Fake::new(move |call| call.result(&result));
    let ended = run(fake.talkiectl(arguments));
    (fake.sees_call(), ended)
}

#[track_caller]
fn prints(arguments: &[&str], result: Value, method: &str, params: &Value, stdout: &str) {
    let (call, ended) = check(arguments, result);
    assert_eq!((&*call.0, &call.1), (method, params));
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), stdout, ""));
}

#[test]
fn models_are_listed() {
    let table = "MODEL  SIZE    QUANT  CONTEXT  STATE\norg/x  1.8 GB  –      –        warm\n";
    prints(&["models"], json!({"models": [warm()]}), "models.list", &Value::Null, table);
}

#[test]
fn load_says_how_the_model_is_kept() {
    let stdout = "org/x is warm: 1.9 GB on Apple M3, kept 1 h after its last request\n";
    let params = json!([{"model": "org/x", "keep_alive": 3600}]);
    prints(&["load", "org/x", "--keep-alive", "1h"], warm(), "models.load", &params, stdout);
}

#[test]
fn unload_says_whether_there_was_something_to_unload() {
    let params = json!([{"model": "org/x"}]);
    let unload = ["unload", "org/x"];
    prints(&unload, json!({"unloaded": true}), "models.unload", &params, "org/x is unloaded\n");
    prints(&unload, json!({"unloaded": false}), "models.unload", &params, "org/x was not in memory\n");
}

#[test]
fn ps_and_status_show_the_daemon() {
    let (call, ended) = check(&["ps"], status());
    assert_eq!(call, ("daemon.status".into(), Value::Null));
    insta::assert_snapshot!("ps", ended.stdout);
    insta::assert_snapshot!("status", check(&["status"], status()).1.stdout);
}

#[test]
fn json_is_the_result_on_one_line() {
    for (arguments, result) in [
        (&["models", "--json"][..], json!({"models": [warm()]})),
        (&["--json", "ps"], status()),
        (&["load", "org/x", "--json"], warm()),
        (&["unload", "org/x", "--json"], json!({"unloaded": false})),
        (&["cancel", "req_1", "--json"], json!({"cancelled": true})),
    ] {
        let ended = check(arguments, result.clone()).1;
        assert_eq!(ended.stdout.lines().count(), 1);
        assert_eq!(serde_json::from_str::<Value>(&ended.stdout).expect("JSON"), result);
    }
}

#[test]
fn ping_measures_as_often_as_told() {
    let pong = json!({"version": "0.1.0", "protocol": 1, "pid": 4242});
    let fake = Fake::new(move |call| call.result(&pong));
    let once = run(fake.talkiectl(&["ping"])).stdout;
    let (head, time) = once.split_once(": ").expect("a time");
    assert_eq!(head, "talkied 0.1.0 (pid 4242, protocol 1)");
    assert!(time.strip_suffix(" µs\n").is_some_and(|time| time.parse::<u64>().is_ok()), "{time}");
    assert!(matches!(fake.sees(), Seen::Call(_)));
    assert_eq!(fake.sees(), Seen::Closed);

    let many: Value = serde_json::from_str(&run(fake.talkiectl(&["ping", "-c", "5", "--json"])).stdout).expect("JSON");
    assert_eq!((&many["count"], &many["pid"]), (&json!(5), &json!(4242)));
    assert!(many["p50_us"].as_f64() <= many["p99_us"].as_f64(), "{many}");
    (0..5).for_each(|_| assert_eq!(fake.sees_call().0, "daemon.ping"));
    assert_eq!(fake.sees(), Seen::Closed);
}

#[test]
fn cancel_ends_a_request_or_does_not_find_it() {
    let params = json!([{"request_id": "req_1"}]);
    prints(&["cancel", "req_1"], json!({"cancelled": true}), "generate.cancel", &params, "req_1 is cancelled\n");
    let ended = check(&["cancel", "req_1"], json!({"cancelled": false})).1;
    assert_eq!((ended.code, &*ended.stdout), (Some(4), ""));
    assert_eq!(ended.stderr, "error: no request req_1 waits or runs\nhint: `talkiectl ps` lists those that do\n");
}

#[test]
fn stop_waits_until_the_daemon_is_gone() {
    let fake = Fake::new(|call| {
        call.result(&Value::Null);
        call.hang_up();
    });
    let ended = run(fake.talkiectl(&["stop"]));
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), "talkied has stopped\n", ""));
    assert_eq!(fake.sees_call().0, "daemon.shutdown");
}

#[test]
fn stop_of_a_daemon_that_ends_before_it_answers_is_done() {
    let fake = Fake::new(Call::hang_up);
    let ended = run(fake.talkiectl(&["stop"]));
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "talkied has stopped\n"));
}

#[test]
fn a_model_that_is_not_there_exits_with_4_and_says_where_to_look() {
    let fake = Fake::new(|call| call.error(1001, &json!({"kind": "model_not_found", "message": "no model org/x"})));
    for arguments in [&["load", "org/x"][..], &["unload", "org/x"], &["generate", "hi", "-m", "org/x"]] {
        let ended = run(fake.talkiectl(arguments));
        assert_eq!(ended.code, Some(4));
        assert!(ended.stderr.starts_with("error: no model org/x\nhint: `talkiectl models` lists"), "{}", ended.stderr);
    }
}

#[test]
fn without_a_daemon_every_command_says_how_to_start_it() {
    let home = TempDir::new().expect("a directory");
    std::fs::write(home.path().join("x.gguf"), "GGUF").expect("a file");
    let file = home.path().join("x.gguf").display().to_string();
    for arguments in [
        &["ps"][..],
        &["status"],
        &["ping"],
        &["cancel", "req_1"],
        &["unload", "org/x"],
        &["models", "--no-start"],
        &["load", "org/x", "--no-start"],
        &["import", &file, "--no-start"],
        &["pull", "org/x", "--no-start"],
        &["pulls", "--no-start"],
        &["pulls", "cancel", "org/x", "--no-start"],
        &["catalogue", "--no-start"],
        &["verify", "org/x", "--no-start"],
        &["rm", "org/x", "--no-start"],
        &["du", "--no-start"],
        &["generate", "hi", "--no-start"],
    ] {
        let ended = run(talkiectl(&home, arguments));
        assert_eq!((ended.code, &*ended.stdout), (Some(3), ""), "{arguments:?}");
        let socket = home.path().join("run").join("talkied.sock");
        let message = format!("error: talkied is not running: nobody listens on {}\nhint: start it", socket.display());
        assert!(ended.stderr.starts_with(&message), "{}", ended.stderr);
    }
    assert!(!home.path().join("talkied.log").exists(), "nothing was started");
}

#[test]
fn stop_without_a_daemon_is_done() {
    let home = TempDir::new().expect("a directory");
    let ended = run(talkiectl(&home, &["stop"]));
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), "talkied is not running\n", ""));
    assert_eq!(run(talkiectl(&home, &["stop", "--json"])).stdout, "{\"stopped\":false}\n");
}

#[test]
fn a_server_that_answers_garbage_is_no_daemon() {
    let fake = Fake::new(|call| call.raw("220 mail.example ESMTP\r\n"));
    let ended = run(fake.talkiectl(&["status"]));
    assert_eq!((ended.code, &*ended.stdout), (Some(1), ""));
    assert!(ended.stderr.starts_with("error: the answer of talkied cannot be understood: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("\nhint: check that the socket is talkied's"), "{}", ended.stderr);
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    // /dev/full exists on Linux alone.
    if cfg!(target_os = "linux") {
        let fake = Fake::new(|call| call.result(&json!({"models": [warm()]})));
        let mut command = fake.talkiectl(&["models"]);
        command.stdout(std::fs::File::options().write(true).open("/dev/full").expect("a device"));
        let ended = run(command);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.starts_with("error: failed to write to standard output: "), "{}", ended.stderr);
    }
}
