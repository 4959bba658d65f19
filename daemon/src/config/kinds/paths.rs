//! The kinds that are paths, and lists.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use protocol::{KeepAlive, ModelId};
use serde_json::{Value as Json, json};
use toml::Value as Toml;

use super::{Cache, Kind, Preload, Program};

impl Kind for Cache {
    const EXPECTED: &'static str = "an absolute path, or none";

    fn of_os(text: &OsStr) -> Option<Self> {
        if text == "none" { Some(Self(None)) } else { absolute(text).map(|path| Self(Some(path))) }
    }

    fn of_text(text: &str) -> Option<Self> {
        Self::of_os(OsStr::new(text))
    }

    fn of_toml(value: &Toml) -> Option<Self> {
        Self::of_text(value.as_str()?)
    }

    fn to_toml(&self) -> Toml {
        self.0.as_deref().map_or("none".into(), of_path)
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(none|/.*)$" })
    }
}

impl Kind for Program {
    const EXPECTED: &'static str = "an absolute path of a program";

    /// On a command line a path is one from where that is typed.
    fn of_os(text: &OsStr) -> Option<Self> {
        std::path::absolute(text).ok().map(Self)
    }

    fn of_text(text: &str) -> Option<Self> {
        Self::of_os(OsStr::new(text))
    }

    fn of_toml(value: &Toml) -> Option<Self> {
        absolute(OsStr::new(value.as_str()?)).map(Self)
    }

    fn to_toml(&self) -> Toml {
        of_path(&self.0)
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^/." })
    }
}

impl Kind for Vec<PathBuf> {
    const EXPECTED: &'static str = "a list of absolute paths";
    const SEPARATOR: Option<&'static str> = Some(":");

    fn of_os(text: &OsStr) -> Option<Self> {
        let paths = std::env::split_paths(text).filter(|path| !path.as_os_str().is_empty());
        paths.map(|path| absolute(path.as_os_str())).collect()
    }

    fn of_text(text: &str) -> Option<Self> {
        Self::of_os(OsStr::new(text))
    }

    fn of_toml(value: &Toml) -> Option<Self> {
        value.as_array()?.iter().map(|path| absolute(OsStr::new(path.as_str()?))).collect()
    }

    fn to_toml(&self) -> Toml {
        self.iter().map(|path| of_path(path)).collect::<Vec<_>>().into()
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": { "type": "string", "pattern": "^/." } })
    }
}

impl Kind for Vec<Preload> {
    const EXPECTED: &'static str = "a list of models: ids, or tables as { model = \"org/name\", keep_alive = \"1h\" }";
    const SEPARATOR: Option<&'static str> = Some(",");

    fn of_text(text: &str) -> Option<Self> {
        text.split(',').map(str::trim).filter(|id| !id.is_empty()).map(|id| preload(id, None)).collect()
    }

    fn of_toml(value: &Toml) -> Option<Self> {
        let entry = |entry: &Toml| match entry {
            Toml::String(id) => preload(id, None),
            Toml::Table(table) => {
                let keep_alive = table.get("keep_alive").map(KeepAlive::of_toml);
                let known = 1 + usize::from(keep_alive.is_some());
                let model = table.get("model")?.as_str().filter(|_| table.len() == known)?;
                match keep_alive {
                    Some(None) => None,
                    keep_alive => preload(model, keep_alive.flatten()),
                }
            }
            _ => None,
        };
        value.as_array()?.iter().map(entry).collect()
    }

    fn to_toml(&self) -> Toml {
        let entry = |preload: &Preload| match preload.keep_alive {
            None => Toml::from(preload.model.0.clone()),
            Some(keep_alive) => {
                let model = ("model".to_owned(), preload.model.0.clone().into());
                Toml::Table([model, ("keep_alive".to_owned(), keep_alive.to_toml())].into_iter().collect())
            }
        };
        self.iter().map(entry).collect::<Vec<_>>().into()
    }

    fn schema() -> Json {
        let id = json!({ "type": "string", "minLength": 1 });
        let table = json!({
            "type": "object",
            "properties": { "model": id, "keep_alive": KeepAlive::schema() },
            "required": ["model"],
            "additionalProperties": false,
        });
        json!({ "type": "array", "items": { "oneOf": [id, table] } })
    }
}

fn preload(id: &str, keep_alive: Option<KeepAlive>) -> Option<Preload> {
    let model = ModelId(id.to_owned());
    model.is_valid().then_some(Preload { model, keep_alive })
}

fn absolute(path: &OsStr) -> Option<PathBuf> {
    Some(PathBuf::from(path)).filter(|path| path.is_absolute())
}

fn of_path(path: &Path) -> Toml {
    path.to_string_lossy().into_owned().into()
}
