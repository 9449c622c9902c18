//! Without the feature: no `OnUpgrade` is ever made.

use http::{Extensions, StatusCode};

use crate::http::http1::upgrade::Run;

pub(crate) enum Minted {}

impl Minted {
    pub(crate) fn deliver(self, _is_websocket: bool) -> Option<Run> {
        match self {}
    }
}

pub(crate) fn mint(_: &mut Extensions) -> Option<Box<Minted>> {
    None
}

pub(crate) fn advise(_: StatusCode) {}
