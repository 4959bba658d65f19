//! The settings, once: name, kind, words, variable, option, default, and whether a running daemon takes a new value.
//!
//! The options of the program, the commented default file, the schema for editors and `config show` are all made of this
//! table; a setting is added by a field of [`Settings`], its default, and a row.

use std::path::PathBuf;
use std::time::Duration;

use protocol::{KeepAlive, ModelSource};

use super::field::{Field, Of};
use super::kinds::{
    Address, Batch, Cache, DraftModels, IdleExit, Keychain, LogFilter, ModelMemory, PrefixCache, Preload, Program,
    Programs, PullLimit, Queue,
};
use crate::hugging_face;
use crate::library::Place;
use crate::telemetry::LOG_VARIABLE;

/// Names of the engines' programs, which stand beside the daemon's.
const ENGINE: &str = "talkied-mlx";
const CANDLE: &str = "talkied-candle";

/// What the daemon is set to.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the table below says what each is")]
pub struct Settings {
    pub keep_alive: KeepAlive,
    pub queue: Queue,
    pub batch: Batch,
    pub memory: ModelMemory,
    pub prefix_cache: PrefixCache,
    pub draft_models: DraftModels,
    pub engine_timeout: Duration,
    pub pressure: Cache,
    pub drain: Duration,
    pub preload: Vec<Preload>,
    pub idle_exit: IdleExit,
    pub models: Vec<PathBuf>,
    pub hf_cache: Cache,
    pub hub: Address,
    pub pull_limit: PullLimit,
    pub local_only: bool,
    pub keychain: Keychain,
    pub workflow_shell: Programs,
    pub workflow_scripts: bool,
    pub engine: Program,
    pub candle: Program,
    pub log: LogFilter,
}

/// When a new value in the file is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// By a reload.
    AtOnce,
    /// By the next start.
    AtStart,
}

/// One setting.
pub struct Setting {
    /// Its name in the file.
    pub key: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// The variable that goes before the file.
    pub variable: &'static str,
    /// The option that goes before the variable, without its dashes.
    pub option: &'static str,
    /// What follows the option; empty for what is said by the option alone.
    pub placeholder: &'static str,
    /// What the default file shows in place of a default that differs between machines.
    pub example: Option<&'static str>,
    /// When a new value is taken.
    pub taken: Taken,
    /// Where its value lies in [`Settings`].
    pub field: &'static dyn Field,
}

macro_rules! field {
    ($name:ident) => {
        &Of { get: |settings| &settings.$name, get_mut: |settings| &mut settings.$name }
    };
}

/// Every setting, in the order in which people are shown them.
pub static SETTINGS: [Setting; 22] = [
    Setting {
        key: "keep_alive",
        doc: "How long a model stays warm after its last request: seconds, 5m, 2h or forever",
        variable: "TALKIE_KEEP_ALIVE",
        option: "keep-alive",
        placeholder: "TIME",
        example: None,
        taken: Taken::AtOnce,
        field: field!(keep_alive),
    },
    Setting {
        key: "queue",
        doc: "Most requests that may wait",
        variable: "TALKIE_QUEUE",
        option: "queue",
        placeholder: "N",
        example: None,
        taken: Taken::AtOnce,
        field: field!(queue),
    },
    Setting {
        key: "batch",
        doc: "Most answers that an engine works on at once; each sample of a request is one",
        variable: "TALKIE_BATCH",
        option: "batch",
        placeholder: "N",
        example: None,
        taken: Taken::AtOnce,
        field: field!(batch),
    },
    Setting {
        key: "memory",
        doc: "Most memory that models take together, as 12G or 60% of this machine's, or auto for what the GPU recommends, or \
              else two thirds of this machine's, three quarters above 36 GiB",
        variable: "TALKIE_MEMORY",
        option: "memory",
        placeholder: "BYTES",
        example: None,
        taken: Taken::AtOnce,
        field: field!(memory),
    },
    Setting {
        key: "prefix_cache",
        doc: "Most memory of the beginnings of prompts that a model keeps computed, as 2G, or auto for an eighth of what models \
              may take, or none",
        variable: "TALKIE_PREFIX_CACHE",
        option: "prefix-cache",
        placeholder: "BYTES",
        example: None,
        taken: Taken::AtOnce,
        field: field!(prefix_cache),
    },
    Setting {
        key: "draft_models",
        doc: "Smaller models of the same vocabulary that guess tokens for others, from the next load of those on",
        variable: "TALKIE_DRAFT_MODELS",
        option: "draft-models",
        placeholder: "MODEL=DRAFT",
        example: Some(r#"{ "org/name" = "org/small" }"#),
        taken: Taken::AtOnce,
        field: field!(draft_models),
    },
    Setting {
        key: "engine_timeout",
        doc: "How long an engine with work may do no step before it counts as hanging and is killed",
        variable: "TALKIE_ENGINE_TIMEOUT",
        option: "engine-timeout",
        placeholder: "TIME",
        example: None,
        taken: Taken::AtOnce,
        field: field!(engine_timeout),
    },
    Setting {
        key: "pressure",
        doc: "File that tells of memory pressure as Linux does, such as memory.pressure of a control group; the kernel's own \
              where none is named",
        variable: "TALKIE_PRESSURE",
        option: "pressure",
        placeholder: "FILE",
        example: Some(r#""/sys/fs/cgroup/user.slice/memory.pressure""#),
        taken: Taken::AtStart,
        field: field!(pressure),
    },
    Setting {
        key: "drain",
        doc: "How long running requests get when the daemon is to end",
        variable: "TALKIE_DRAIN",
        option: "drain",
        placeholder: "TIME",
        example: None,
        taken: Taken::AtOnce,
        field: field!(drain),
    },
    Setting {
        key: "preload",
        doc: "Models to load at the start, one after another",
        variable: "TALKIE_PRELOAD",
        option: "preload",
        placeholder: "MODEL",
        example: Some(r#"["org/name", { model = "org/other", keep_alive = "forever" }]"#),
        taken: Taken::AtOnce,
        field: field!(preload),
    },
    Setting {
        key: "idle_exit",
        doc: "After how long without a connection, a request, a model in memory and a download the daemon ends, or never; \
              only where launchd or systemd passed its socket and so starts it again",
        variable: "TALKIE_IDLE_EXIT",
        option: "idle-exit",
        placeholder: "TIME",
        example: None,
        taken: Taken::AtOnce,
        field: field!(idle_exit),
    },
    Setting {
        key: "models",
        doc: "More folders with models, used where they are",
        variable: "TALKIE_MODELS",
        option: "models",
        placeholder: "DIR",
        example: Some(r#"["/data/models"]"#),
        taken: Taken::AtStart,
        field: field!(models),
    },
    Setting {
        key: "hf_cache",
        doc: "Cache of the Hugging Face libraries, whose models are used where they are; none for no such cache",
        variable: "HF_HUB_CACHE",
        option: "hf-cache",
        placeholder: "DIR",
        example: Some(r#""none""#),
        taken: Taken::AtStart,
        field: field!(hf_cache),
    },
    Setting {
        key: "hub",
        doc: "Address of the model hub",
        variable: "HF_ENDPOINT",
        option: "hub",
        placeholder: "URL",
        example: None,
        taken: Taken::AtStart,
        field: field!(hub),
    },
    Setting {
        key: "pull_limit",
        doc: "Most bytes per second that downloads take together, as 500k or 20M, or none",
        variable: "TALKIE_PULL_LIMIT",
        option: "pull-limit",
        placeholder: "BYTES",
        example: None,
        taken: Taken::AtOnce,
        field: field!(pull_limit),
    },
    Setting {
        key: "local_only",
        doc: "Send no request to a server that is not on this machine, whatever a request or providers.toml says",
        variable: "TALKIE_LOCAL_ONLY",
        option: "local-only",
        placeholder: "",
        example: None,
        taken: Taken::AtOnce,
        field: field!(local_only),
    },
    Setting {
        key: "keychain",
        doc: "Keep keys of servers in the system's keychain, and not in files; the option and the variable say no to it",
        variable: "TALKIE_NO_KEYCHAIN",
        option: "no-keychain",
        placeholder: "",
        example: None,
        taken: Taken::AtStart,
        field: field!(keychain),
    },
    Setting {
        key: "workflow_shell",
        doc: "Programs that workflows may run: a list of absolute paths or names, or off",
        variable: "TALKIE_WORKFLOW_SHELL",
        option: "workflow-shell",
        placeholder: "PROGRAMS",
        example: None,
        taken: Taken::AtOnce,
        field: field!(workflow_shell),
    },
    Setting {
        key: "workflow_scripts",
        doc: "Let workflows run scripts of /bin/sh, and with them every program",
        variable: "TALKIE_WORKFLOW_SCRIPTS",
        option: "workflow-scripts",
        placeholder: "",
        example: None,
        taken: Taken::AtOnce,
        field: field!(workflow_scripts),
    },
    Setting {
        key: "engine",
        doc: "Program of the MLX engine; talkied-mlx beside this program where none is named",
        variable: "TALKIE_ENGINE",
        option: "engine",
        placeholder: "PROGRAM",
        example: Some(r#""/usr/local/bin/talkied-mlx""#),
        taken: Taken::AtStart,
        field: field!(engine),
    },
    Setting {
        key: "candle",
        doc: "Program of the Candle engine; talkied-candle beside this program where none is named",
        variable: "TALKIE_CANDLE",
        option: "candle",
        placeholder: "PROGRAM",
        example: Some(r#""/usr/local/bin/talkied-candle""#),
        taken: Taken::AtStart,
        field: field!(candle),
    },
    Setting {
        key: "log",
        doc: "What is logged: error, warn, info or debug, or that of each part, as info,talkied::pull=debug",
        variable: LOG_VARIABLE,
        option: "log",
        placeholder: "LEVEL",
        example: None,
        taken: Taken::AtOnce,
        field: field!(log),
    },
];

impl Default for Settings {
    fn default() -> Self {
        let cache = hugging_face::home().map(|home| home.join("hub")).filter(|cache| cache.is_absolute());
        Self {
            keep_alive: KeepAlive::default(),
            queue: Queue(512),
            batch: Batch(16),
            memory: ModelMemory::Auto,
            prefix_cache: PrefixCache::Auto,
            draft_models: DraftModels::default(),
            engine_timeout: Duration::from_mins(5),
            pressure: Cache(None),
            drain: Duration::from_secs(10),
            preload: Vec::new(),
            idle_exit: IdleExit(None),
            models: Vec::new(),
            hf_cache: Cache(cache),
            hub: Address("https://huggingface.co".into()),
            pull_limit: PullLimit(None),
            local_only: false,
            keychain: Keychain(true),
            workflow_shell: Programs(None),
            workflow_scripts: false,
            engine: beside(ENGINE),
            candle: beside(CANDLE),
            log: LogFilter("info".into()),
        }
    }
}

impl Settings {
    /// Other places than the home that have models, in the order in which they are looked at.
    pub fn places(&self) -> Vec<Place> {
        let folders = self.models.iter().map(|root| Place { root: root.clone(), source: ModelSource::Folder });
        let cache = self.hf_cache.0.iter();
        folders.chain(cache.map(|root| Place { root: root.clone(), source: ModelSource::HuggingFaceCache })).collect()
    }
}

/// The program that stands beside this one. Where this one's own place is not known, its name: nothing is found there,
/// and whoever asks for it is told which option names it.
fn beside(name: &str) -> Program {
    Program(std::env::current_exe().map_or_else(|_| name.into(), |own| own.with_file_name(name)))
}
