//! A field of the settings, whatever its kind: what the table needs of each.

use std::ffi::OsStr;

use serde_json::Value as Json;
use toml::Value as Toml;

use super::kinds::Kind;
use super::table::Settings;

/// What is no value of a setting.
#[derive(Debug)]
pub struct Wrong;

/// One field of [`Settings`], whatever its kind.
pub trait Field: Sync {
    /// Takes a variable, or what follows an option.
    fn set_os(&self, settings: &mut Settings, text: &OsStr) -> Result<(), Wrong>;
    /// Takes what a file says.
    fn set_toml(&self, settings: &mut Settings, value: &Toml) -> Result<(), Wrong>;
    /// As a file would say it.
    fn get(&self, settings: &Settings) -> Toml;
    /// Carries the value over.
    fn copy(&self, from: &Settings, to: &mut Settings);
    /// What it must be.
    fn expected(&self) -> &'static str;
    /// Between the entries of a list; `None` for what is no list.
    fn separator(&self) -> Option<&'static str>;
    /// What editors are told.
    fn schema(&self) -> Json;
}

/// The field that these two reach.
pub(super) struct Of<T> {
    pub get: fn(&Settings) -> &T,
    pub get_mut: fn(&mut Settings) -> &mut T,
}

impl<T: Kind> Field for Of<T> {
    fn set_os(&self, settings: &mut Settings, text: &OsStr) -> Result<(), Wrong> {
        *(self.get_mut)(settings) = T::of_os(text).ok_or(Wrong)?;
        Ok(())
    }

    fn set_toml(&self, settings: &mut Settings, value: &Toml) -> Result<(), Wrong> {
        *(self.get_mut)(settings) = T::of_toml(value).ok_or(Wrong)?;
        Ok(())
    }

    fn get(&self, settings: &Settings) -> Toml {
        (self.get)(settings).to_toml()
    }

    fn copy(&self, from: &Settings, to: &mut Settings) {
        (self.get_mut)(to).clone_from((self.get)(from));
    }

    fn expected(&self) -> &'static str {
        T::EXPECTED
    }

    fn separator(&self) -> Option<&'static str> {
        T::SEPARATOR
    }

    fn schema(&self) -> Json {
        T::schema()
    }
}
