//! What happens, as it happens: server-sent events, and rooms to talk in.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use futures_util::stream::{self, Stream};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;

use super::account::User;
use super::state::AppState;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/events", get(events)).route("/chat/{room}", any(chat))
}

/// What happens to notes, from now on; a comment where nothing does.
async fn events(
    State(state): State<AppState>,
    _: User,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let first = Event::default().event("hello").retry(Duration::from_secs(3)).data("listening");
    let happenings = stream::unfold(state.room("events").subscribe(), |mut room| async {
        loop {
            match room.recv().await {
                Ok(text) => return Some((Event::default().data(text), room)),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    let events = stream::once(async { first }).chain(happenings).map(Ok);
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_millis(50)))
}

#[derive(Deserialize)]
struct Guest {
    name: String,
}

async fn chat(
    upgrade: WebSocketUpgrade,
    State(state): State<AppState>,
    Path(room): Path<String>,
    Query(Guest { name }): Query<Guest>,
) -> Response {
    if name.is_empty() {
        return (axum::http::StatusCode::FORBIDDEN, "guests have names").into_response();
    }
    let upgrade = upgrade.protocols(["chat.v2", "chat.v1"]).max_message_size(1 << 20);
    upgrade.on_upgrade(move |socket| talk(socket, state, room, name))
}

/// Two tasks a guest: what is said is sent while the guest is listened to.
async fn talk(socket: WebSocket, state: AppState, room: String, name: String) {
    let room = state.room(&format!("chat/{room}"));
    let mut said = room.subscribe();
    let (mut to_guest, mut from_guest) = socket.split();
    let _ = room.send(format!("{name} comes"));
    let mut listens = tokio::spawn(async move {
        while let Ok(text) = said.recv().await {
            if to_guest.send(Message::Text(text.into())).await.is_err() {
                return;
            }
        }
    });
    let (says, guest) = (room.clone(), name.clone());
    let mut speaks = tokio::spawn(async move {
        while let Some(Ok(message)) = from_guest.next().await {
            let text = match message {
                Message::Text(text) => format!("{guest}: {text}"),
                Message::Binary(bytes) => format!("{guest} sends {} bytes", bytes.len()),
                Message::Close(_) => return,
                Message::Ping(_) | Message::Pong(_) => continue,
            };
            let _ = says.send(text);
        }
    });
    tokio::select! {
        _ = &mut listens => speaks.abort(),
        _ = &mut speaks => listens.abort(),
    }
    let _ = room.send(format!("{name} goes"));
}
