//! What all requests share.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use super::error::ApiError;

/// Messages that a slow listener may be behind.
const BACKLOG: usize = 64;

#[derive(Clone, Default)]
pub(crate) struct AppState {
    shared: Arc<Shared>,
}

#[derive(Default)]
pub(crate) struct Shared {
    notes: Mutex<Notes>,
    files: Mutex<HashMap<(u64, String), Attachment>>,
    rooms: Mutex<HashMap<String, broadcast::Sender<String>>>,
    pub(super) requests: AtomicU64,
}

#[derive(Default)]
struct Notes {
    by_id: BTreeMap<u64, Note>,
    last_id: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    #[serde(default)]
    pub(crate) id: u64,
    #[serde(default)]
    pub(crate) owner: String,
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) body: String,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    #[serde(default)]
    pub(crate) is_public: bool,
    #[serde(default)]
    pub(crate) revision: u32,
}

#[derive(Clone)]
pub(crate) struct Attachment {
    pub(crate) content_type: String,
    pub(crate) bytes: Bytes,
}

impl std::ops::Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Shared {
    pub(crate) fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn create(&self, owner: &str, mut note: Note) -> Result<Note, ApiError> {
        let mut notes = lock(&self.notes);
        if notes.by_id.values().any(|other| other.owner == owner && other.title == note.title) {
            return Err(ApiError::Conflict("there is a note of that title"));
        }
        notes.last_id += 1;
        note.id = notes.last_id;
        note.owner = owner.to_owned();
        note.revision = 1;
        notes.by_id.insert(note.id, note.clone());
        Ok(note)
    }

    /// The notes that `user` may read.
    pub(crate) fn visible(&self, user: Option<&str>) -> Vec<Note> {
        let may_read = |note: &&Note| note.is_public || Some(note.owner.as_str()) == user;
        lock(&self.notes).by_id.values().filter(may_read).cloned().collect()
    }

    pub(crate) fn get(&self, id: u64, user: Option<&str>) -> Result<Note, ApiError> {
        let note = lock(&self.notes).by_id.get(&id).cloned().ok_or(ApiError::NotFound("note"))?;
        match note.is_public || Some(note.owner.as_str()) == user {
            true => Ok(note),
            false => Err(ApiError::Forbidden),
        }
    }

    /// Changes a note of the user's own.
    pub(crate) fn change(
        &self,
        id: u64,
        user: &str,
        change: impl FnOnce(&mut Note),
    ) -> Result<Note, ApiError> {
        let mut notes = lock(&self.notes);
        let note = notes.by_id.get_mut(&id).ok_or(ApiError::NotFound("note"))?;
        if note.owner != user {
            return Err(ApiError::Forbidden);
        }
        change(note);
        note.revision += 1;
        Ok(note.clone())
    }

    pub(crate) fn delete(&self, id: u64, user: &str) -> Result<(), ApiError> {
        self.change(id, user, |_| {})?;
        lock(&self.notes).by_id.remove(&id);
        lock(&self.files).retain(|(note, _), _| *note != id);
        Ok(())
    }

    pub(crate) fn attach(&self, id: u64, name: String, attachment: Attachment) {
        lock(&self.files).insert((id, name), attachment);
    }

    pub(crate) fn attachment(&self, id: u64, name: &str) -> Result<Attachment, ApiError> {
        let files = lock(&self.files);
        files.get(&(id, name.to_owned())).cloned().ok_or(ApiError::NotFound("file"))
    }

    /// Where the messages of a room go; `events` has what happens to notes.
    pub(crate) fn room(&self, name: &str) -> broadcast::Sender<String> {
        let mut rooms = lock(&self.rooms);
        let room = rooms.entry(name.to_owned());
        room.or_insert_with(|| broadcast::channel(BACKLOG).0).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
