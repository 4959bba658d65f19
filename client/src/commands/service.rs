//! `service`: the way from what is to what is wanted is found by the library, shown here, and carried out.

use std::path::{Component, Path};

use serde::Serialize;
use talkiectl::service::{self, Anew, Job, Manager, Service, Socket, Step};

use super::Session;
use crate::cli;
use crate::failure::Failure;
use crate::render;
use crate::render::service::Done;

/// One of `service`'s commands.
pub async fn service(session: &Session, command: cli::ServiceCommand) -> Result<(), Failure> {
    let service = Service::of_user(command.manager.unwrap_or(Manager::here()))?;
    let (steps, dry_run, done) = match command.what {
        cli::Service::Install(install) => return self::install(session, &service, install).await,
        cli::Service::Status => return status(session, &service).await,
        cli::Service::Logs(asked) => return super::logs::logs(session, asked).await,
        cli::Service::Uninstall(dry_run) => {
            let models = session.paths.models();
            (service.uninstall().await?, dry_run, Done::uninstalled(&service, &models))
        }
        cli::Service::Start(dry_run) => (service.start().await?, dry_run, Done::started(&service)),
        cli::Service::Stop(dry_run) => (service.stop().await?, dry_run, Done::stopped(&service)),
        cli::Service::Restart(dry_run) => (service.restart().await?, dry_run, Done::restarted(&service)),
    };
    finish(session, &steps, dry_run, done).await
}

async fn install(session: &Session, service: &Service, install: cli::Install) -> Result<(), Failure> {
    let program = service::find_program(install.program)?;
    let version = service::version_of(&program).await?;
    if version != env!("CARGO_PKG_VERSION") {
        note(session, &format!("{} is version {version}, talkiectl {}", program.display(), env!("CARGO_PKG_VERSION")));
    }
    if is_built_there(&program) {
        note(session, &format!("{} is where cargo builds: the next build replaces it", program.display()));
    }
    let variables: service::Variables = std::env::vars_os().collect();
    if variables.iter().any(|(name, _)| name.to_string_lossy().starts_with("TALKIE_KEY_")) {
        note(session, "keys in TALKIE_KEY_... are not written into the service: `talkiectl providers set-key NAME`");
    }
    let socket = if session.named_socket { Socket::Named } else { Socket::Default };
    let job = Job::new(program, &session.paths, socket, variables)?;
    let anew = if install.force { Anew::Always } else { Anew::WhereNeeded };
    let steps = service.install(&job, anew).await?;
    finish(session, &steps, install.dry_run, Done::installed(service, &job)).await
}

/// Whether a program lies in the folder that `cargo build` fills and `cargo clean` removes.
fn is_built_there(program: &Path) -> bool {
    let mut folders = program.components().rev().skip(1).map(Component::as_os_str);
    folders.next().is_some_and(|profile| profile == "debug" || profile == "release")
        && folders.any(|name| name == "target")
}

fn note(session: &Session, text: &str) {
    if !session.quiet {
        render::to_stderr(&format!("note: {}\n", render::printable(text)));
    }
}

/// Carries the steps out, or shows them.
async fn finish(session: &Session, steps: &[Step], dry_run: cli::DryRun, done: Done) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Plan<'a> {
        dry_run: bool,
        steps: &'a [Step],
    }
    if dry_run.dry_run {
        return session.print(&Plan { dry_run: true, steps }, |plan, _| render::service::steps(plan.steps));
    }
    let mut progress = session.progress();
    for step in steps {
        progress.show(&step.words());
        service::carry_out(step).await?;
    }
    progress.clear();
    session.print(&done.changed(!steps.is_empty()), |done, _| render::service::done(done))
}

async fn status(session: &Session, service: &Service) -> Result<(), Failure> {
    session.print(&service.status().await?, |status, _| render::service::status(status))
}
