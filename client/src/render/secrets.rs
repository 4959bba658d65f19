//! Names of secrets, and where each is from.
//!
//! Called by the commands.

use protocol::{KeyStatus, Secret, SecretList};

use super::printable;
use super::table::Table;

/// `secret ls`.
pub fn list(list: &SecretList, width: Option<usize>) -> String {
    if list.secrets.is_empty() {
        return "no secrets; `talkiectl secret set NAME` keeps one\n".into();
    }
    let mut table = Table::new(&["SECRET", "FROM"]);
    for secret in &list.secrets {
        table.row(vec![(&*secret.name.0).into(), place(secret.from).into()]);
    }
    table.render(width)
}

/// `secret set`.
pub fn kept(secret: &Secret) -> String {
    let name = printable(&secret.name.0);
    match secret.from {
        KeyStatus::Keychain => format!("the secret {name} is in the keychain\n"),
        KeyStatus::Environment => {
            format!("the secret {name} is kept, but talkied's environment has one of that name, which goes before it\n")
        }
        _ => format!("the secret {name} is in a file that only you can read\n"),
    }
}

fn place(from: KeyStatus) -> &'static str {
    match from {
        KeyStatus::Environment => "environment",
        KeyStatus::Keychain => "keychain",
        KeyStatus::File => "file",
        KeyStatus::NotNeeded | KeyStatus::Missing => super::NONE,
    }
}
