//! `test-hub`: the hub by hand. Prints its address, and serves until it is killed.

use std::path::{Path, PathBuf};

use clap::Parser;
use talkied_hub::{Content, Hub, Repo};

/// A model hub on the loopback, for tests. Point `HF_ENDPOINT` at the address it prints.
#[derive(Debug, Parser)]
struct Arguments {
    /// Port of the loopback; any free one by default
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// A repository made of the files of a folder
    #[arg(long = "repo", value_name = "ORG/NAME=DIR")]
    repos: Vec<String>,
    /// A repository with a model of so many made-up bytes
    #[arg(long = "made", value_name = "ORG/NAME=BYTES")]
    made: Vec<String>,
    /// The same, open only to those who give the token `hf_secret`
    #[arg(long = "gated", value_name = "ORG/NAME=BYTES")]
    gated: Vec<String>,
    /// The same, which only they can see
    #[arg(long = "private", value_name = "ORG/NAME=BYTES")]
    private: Vec<String>,
    /// Bytes per second of each connection
    #[arg(long, value_name = "BYTES")]
    rate: Option<u64>,
}

/// Shuts a repository to some.
type Access = fn(Repo) -> Repo;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let hub = Hub::start_at(arguments.port)?;
    for repo in &arguments.repos {
        let (id, folder) = repo.split_once('=').ok_or("--repo takes ORG/NAME=DIR")?;
        hub.add(of_folder(id, Path::new(folder))?);
    }
    let open = |repo: Repo| repo;
    let made: [(_, Access); 3] = [
        (&arguments.made, open),
        (&arguments.gated, |repo| repo.gated("hf_secret")),
        (&arguments.private, |repo| repo.private("hf_secret")),
    ];
    for (repos, access) in made {
        for made in repos {
            let (id, bytes) = made.split_once('=').ok_or("a made-up repository is given as ORG/NAME=BYTES")?;
            hub.add(access(Repo::new(id, 0).with_model(bytes.parse()?, 0)));
        }
    }
    if let Some(rate) = arguments.rate {
        hub.slow(rate);
    }
    #[expect(clippy::print_stdout, reason = "the address is what this program is for")]
    {
        println!("{}", hub.endpoint());
    }
    loop {
        std::thread::park();
    }
}

/// Weights are kept apart, as the hub does with large files.
fn of_folder(id: &str, folder: &Path) -> std::io::Result<Repo> {
    let mut repo = Repo::new(id, 0);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.sort();
    for path in files.iter().filter(|path| path.is_file()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = std::fs::read(path)?;
        let is_large = name.ends_with(".safetensors");
        repo = if is_large { repo.large(&name, Content::given(bytes)) } else { repo.small(&name, bytes) };
    }
    Ok(repo)
}
