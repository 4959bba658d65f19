//! What is wrong with the parameters of a call, with the path of the field that it is about.

use serde::Deserializer;
use serde::de::Error;
use serde_path_to_error::{Deserializer as Tracked, Track};

/// Reads a `T` by `read`; an error begins with the path of its field, `options.top_p: …`.
pub(crate) fn named<'de, T, D: Deserializer<'de>>(
    deserializer: D,
    read: impl FnOnce(Tracked<'_, '_, D>) -> Result<T, D::Error>,
) -> Result<T, D::Error> {
    let mut track = Track::new();
    read(Tracked::new(deserializer, &mut track)).map_err(|error| {
        let path = track.path().to_string();
        if path == "." { error } else { D::Error::custom(format!("{path}: {error}")) }
    })
}

/// Makes a type that is parameters of a call say where its errors are. Its own derives have `#[serde(remote = "Self")]`.
macro_rules! names_its_errors {
    ($($params:ident),*) => {$(
        impl<'de> serde::Deserialize<'de> for $params {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::named::named(deserializer, |tracked| $params::deserialize(tracked))
            }
        }

        impl serde::Serialize for $params {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $params::serialize(self, serializer)
            }
        }
    )*};
}

pub(crate) use names_its_errors;
