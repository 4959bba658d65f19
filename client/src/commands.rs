//! What each command does: connect, call, show. The daemon decides; nothing is decided here.
//!
//! Called by `main`.

mod chat;
mod config;
mod daemon;
mod doctor;
mod events;
mod files;
mod format;
mod generate;
mod greeting;
mod install;
mod logs;
mod models;
mod prompt;
mod providers;
mod pull;
mod request;
mod run;
mod screen;
mod secret;
mod service;
mod suggest;
mod tools;
mod top;
mod workflow;

use std::cell::OnceCell;
use std::io::Write;

use protocol::Welcome;
use protocol::paths::Paths;
use serde::Serialize;
use talkiectl::{Client, start};

use crate::cli::{Cli, Command, Form};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::render;

/// Does one command.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    let session = Session::new(&cli)?;
    match done(&session, cli.command).await {
        Err(failure) => Err(greeting::advised(failure, session.daemon.get()).await),
        done => done,
    }
}

async fn done(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Generate(generate) => generate::generate(session, *generate).await,
        Command::Chat(chat) => chat::chat(session, *chat).await,
        Command::Run(run) => run::run(session, *run).await,
        Command::Models => models::list(session).await,
        Command::Ps => daemon::ps(session).await,
        Command::Top(asked) => top::top(session, asked).await,
        Command::Load { model, keep_alive } => models::load(session, model, keep_alive).await,
        Command::Unload { model } => models::unload(session, model).await,
        Command::Catalogue(catalogue) => files::catalogue(session, catalogue).await,
        Command::Pull(pull) => pull::pull(session, pull).await,
        Command::Pulls { what } => pull::pulls(session, what).await,
        Command::Import(import) => files::import(session, import).await,
        Command::Verify { model } => files::verify(session, model).await,
        Command::Rm(rm) => files::rm(session, rm).await,
        Command::Du => files::du(session).await,
        Command::Providers { what } => providers::providers(session, what).await,
        Command::Secret { what } => secret::secret(session, what).await,
        Command::Usage(usage) => providers::usage(session, usage).await,
        Command::Workflow { what } => workflow::workflow(session, what).await,
        Command::Config { what } => config::config(session, what).await,
        Command::Logs(asked) => logs::logs(session, asked).await,
        Command::Doctor { clear } => doctor::doctor(session, clear).await,
        Command::Status => daemon::status(session).await,
        Command::Ping { count } => daemon::ping(session, count).await,
        Command::Events(events) => events::events(session, events).await,
        Command::Cancel { request_id } => generate::cancel(session, request_id).await,
        Command::Stop => daemon::stop(session).await,
        Command::Completions(completions) => install::completions(session, &completions),
        Command::Man(man) => install::man(session, man),
        Command::Service(command) => service::service(session, command).await,
    }
}

/// Whether Ctrl-C is the command's own affair, and must not end the program.
pub fn minds_interrupts(command: &Command) -> bool {
    matches!(command, Command::Chat(_)) && chat::is_interactive()
}

/// What all commands share: where the daemon is and how to show things.
struct Session {
    paths: Paths,
    /// The command line names the socket.
    named_socket: bool,
    no_start: bool,
    form: Form,
    quiet: bool,
    /// What the daemon said of itself, once it was asked.
    daemon: OnceCell<Welcome>,
}

impl Session {
    fn new(cli: &Cli) -> Result<Self, Failure> {
        let mut paths = Paths::from_environment().ok_or_else(|| Failure::Usage {
            message: "no home directory is known".into(),
            hint: "set HOME, or TALKIE_HOME to a directory of your own",
        })?;
        if let Some(socket) = &cli.socket {
            paths.socket.clone_from(socket);
        }
        let (named_socket, form) = (cli.socket.is_some(), cli.form());
        Ok(Self { paths, named_socket, no_start: cli.no_start, form, quiet: cli.quiet, daemon: OnceCell::new() })
    }

    /// Connects to a daemon that runs.
    async fn connect(&self) -> Result<Client, Failure> {
        self.greeted(Client::connect(&self.paths.socket).await?).await
    }

    /// Connects, and starts the daemon where it does not run and may be started.
    async fn connect_or_start(&self) -> Result<Client, Failure> {
        if self.no_start {
            return self.connect().await;
        }
        self.greeted(Client::connect_or_start(&self.paths, &start::program()).await?).await
    }

    /// The daemon, if the two understand each other.
    async fn greeted(&self, client: Client) -> Result<Client, Failure> {
        let welcome = greeting::greet(&client).await?;
        // A command that connects twice meets the same daemon.
        let _ = self.daemon.set(welcome);
        Ok(client)
    }

    /// The line that says what is waited for, where somebody sees it.
    fn progress(&self) -> Progress {
        if self.quiet || self.form == Form::Json { Progress::hidden() } else { Progress::on_stderr() }
    }

    /// Prints a result: as JSON on one line, or in words.
    fn print<T: Serialize>(&self, result: &T, words: impl FnOnce(&T, Option<usize>) -> String) -> Result<(), Failure> {
        let mut stdout = anstream::stdout().lock();
        let text = match self.form {
            Form::Json => serde_json::to_string(result).map_err(|error| Failure::Output(error.into()))? + "\n",
            Form::Words => words(result, render::columns(&std::io::stdout())),
        };
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::Output)
    }
}
