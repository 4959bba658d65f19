//! Real servers with the real model: mlx-lm's and llama.cpp's, held to the contract that the engine is held to.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::contract::Contract;
use crate::support::{Daemon, Start, program};
use crate::{given, model};

/// How long a server may take to start: it reads a model, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_mins(3);

/// A server, killed when dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts a Python's module with these arguments and a port, and waits until it listens.
    fn start(python: &Path, arguments: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(python);
        command.arg("-m").args(arguments).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        // mlx-lm's lists the models of this cache, and breaks off where there is none.
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("empty-cache");
        std::fs::create_dir_all(&cache).unwrap();
        command.env("HF_HUB_OFFLINE", "1").env("HF_HUB_CACHE", cache).stdin(Stdio::null()).stdout(Stdio::null());
        let mut server = Self { child: command.spawn().expect("the server starts"), port };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "the server listens: {ended:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// A daemon that knows it as `server`.
    fn known(&self, default_model: &str) -> Daemon {
        let daemon = Start::with_engine(Path::new(env!("CARGO_BIN_EXE_talkied-mlx"))).run();
        let base_url = format!("http://127.0.0.1:{}/v1", self.port);
        let params = json!({ "provider": "server", "base_url": base_url, "default_model": default_model });
        daemon.call("providers.configure", params).unwrap();
        let tested = daemon.call("providers.test", json!({ "provider": "server" })).unwrap();
        assert_eq!(tested["ok"], true, "{tested}");
        daemon
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn long() -> serde_json::Value {
    json!({ "prompt": "Write a long story about the sea.", "options": { "max_tokens": 400 } })
}

/// The model in float32, made once.
fn in_float32() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("float32");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    let mut cast = Command::new(given::python());
    let status = cast.args(["-c", include_str!("cast.py")]).arg(model::folder()).arg(&folder).status().unwrap();
    assert!(status.success());
    folder
}

#[test]
fn the_mlx_engine_holds_to_the_contract() {
    Contract { provider: "mlx", model: Some(model::ID), long: long(), knows_its_models: true, counts_prompts: true }
        .holds(&model::daemon());
}

#[test]
fn the_candle_engine_holds_to_the_contract() {
    let candle = program("talkied-candle");
    let start = Start::with_engine(Path::new(env!("CARGO_BIN_EXE_talkied-mlx")));
    let daemon = start.env("TALKIE_CANDLE", candle.to_str().unwrap()).linked(model::ID, model::folder()).run();
    // Nobody says by which engine; there is no GPU in this test's own MLX, or there is.
    let chosen = daemon.call("generate.text", json!({ "prompt": "Once", "options": { "max_tokens": 2 } })).unwrap();
    let has_gpu = !cfg!(target_os = "linux") || Path::new("/dev/nvidia0").exists();
    assert_eq!(chosen["provider"], if has_gpu { "mlx" } else { "candle" });
    Contract { provider: "candle", model: Some(model::ID), long: long(), knows_its_models: true, counts_prompts: true }
        .holds(&daemon);
}

#[test]
fn mlx_lms_server_holds_to_the_contract() {
    let folder = in_float32();
    let folder = folder.to_str().unwrap();
    let server = Server::start(&given::python(), &["mlx_lm", "server", "--model", folder]);
    let daemon = server.known(folder);
    Contract { provider: "server", model: None, long: long(), knows_its_models: true, counts_prompts: true }
        .holds(&daemon);
}

#[test]
fn llama_cpps_server_holds_to_the_contract() {
    let python = given::given_or_made("TALKIE_TEST_LLAMA_PYTHON", &["llama"]);
    let file = model::gguf();
    let arguments = ["llama_cpp.server", "--model", file.to_str().unwrap(), "--n_ctx", "2048", "--embedding", "true"];
    let server = Server::start(&python, &arguments);
    let daemon = server.known("any");
    Contract { provider: "server", model: None, long: long(), knows_its_models: false, counts_prompts: false }
        .holds(&daemon);
}
