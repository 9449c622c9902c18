//! Server-sent events and rooms to talk in.

use std::io::{Read, Write};

use serde_json::json;
use sidecore_tests::Steady;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

use super::on_both;

const TOKEN: (&str, &str) = ("authorization", "Bearer token-of-ada");

fn hear(guest: &mut WebSocket<Steady>) -> String {
    guest.read().expect("a message").into_text().expect("text").to_string()
}

#[test]
fn events_tell_what_happens_and_comments_that_nothing_does() {
    on_both(|site| {
        let mut events = site.begin("GET", "/api/v1/events", &[TOKEN], "");
        let fields = events.headers();
        assert_eq!(fields["content-type"], "text/event-stream");
        assert_eq!(fields["cache-control"], "no-cache");
        let first = site.until(&mut events, "listening\n\n");
        let mut lines: Vec<_> = first.lines().take(3).collect();
        lines.sort_unstable();
        assert_eq!(lines, ["data: listening", "event: hello", "retry: 3000"]);
        site.until(&mut events, ":\n\n");
        site.json("ada", "POST", "/api/v1/notes", r#"{"title":"one"}"#);
        site.until(&mut events, "data: created 1\n\n");
        site.ask("ada", "POST", "/api/v1/notes/1/publish");
        site.until(&mut events, "data: published 1\n\n");
        site.ask("ada", "DELETE", "/api/v1/notes/1");
        site.until(&mut events, "data: deleted 1\n\n");
    });
}

#[test]
fn events_are_not_compressed_and_come_one_by_one() {
    on_both(|site| {
        let fields = [TOKEN, ("accept-encoding", "gzip, br")];
        let mut events = site.begin("GET", "/api/v1/events", &fields, "");
        assert_eq!(events.headers().get("content-encoding"), None);
        site.until(&mut events, "listening\n\n");
        for number in 1..=3 {
            let note = json!({ "title": number.to_string() }).to_string();
            site.json("ada", "POST", "/api/v1/notes", &note);
            // It is there before the next one happens.
            site.until(&mut events, &format!("data: created {number}\n\n"));
        }
        assert_eq!(site.get("/api/v1/events").status, 401);
    });
}

#[test]
fn guests_of_a_room_hear_each_other() {
    on_both(|site| {
        let mut ada = site.websocket("/api/v1/chat/tea?name=ada", None).expect("a WebSocket");
        assert_eq!(hear(&mut ada), "ada comes");
        let mut bob = site.websocket("/api/v1/chat/tea?name=bob", None).expect("a WebSocket");
        assert_eq!(hear(&mut bob), "bob comes");
        assert_eq!(hear(&mut ada), "bob comes");
        let mut eve = site.websocket("/api/v1/chat/coffee?name=eve", None).expect("a WebSocket");
        assert_eq!(hear(&mut eve), "eve comes");
        ada.send(Message::text("milk?")).expect("it takes it");
        bob.send(Message::binary(vec![0; 100_000])).expect("it takes it");
        let mut heard: Vec<Vec<String>> =
            [&mut ada, &mut bob].map(|guest| vec![hear(guest), hear(guest)]).into();
        heard.iter_mut().for_each(|heard| heard.sort());
        assert_eq!(heard[0], ["ada: milk?", "bob sends 100000 bytes"]);
        assert_eq!(heard[0], heard[1]);
        ada.close(None).expect("it takes it");
        while ada.read().is_ok() {}
        assert_eq!(hear(&mut bob), "ada goes");
        bob.close(None).expect("it takes it");
        while bob.read().is_ok() {}
        // A guest that leaves without a word is missed as well.
        let mut ann = site.websocket("/api/v1/chat/coffee?name=ann", None).expect("a WebSocket");
        assert_eq!((hear(&mut ann), hear(&mut eve)), ("ann comes".into(), "ann comes".into()));
        drop(eve);
        assert_eq!(hear(&mut ann), "eve goes");
        ann.close(None).expect("it takes it");
        while ann.read().is_ok() {}
    });
}

#[test]
fn a_room_takes_pings_and_a_close_with_its_reason() {
    on_both(|site| {
        let mut ada = site.websocket("/api/v1/chat/tea?name=ada", None).expect("a WebSocket");
        assert_eq!(hear(&mut ada), "ada comes");
        ada.send(Message::Ping("there?".into())).expect("it takes it");
        ada.send(Message::text("hello")).expect("it takes it");
        let mut got = [ada.read().expect("it"), ada.read().expect("it")];
        got.sort_by_key(Message::is_text);
        assert_eq!(got, [Message::Pong("there?".into()), Message::text("ada: hello")]);
        let frame = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
        ada.close(Some(frame)).expect("it takes it");
        while ada.read().is_ok() {}
    });
}

#[test]
fn the_protocol_is_the_first_that_both_speak() {
    on_both(|site| {
        for (offers, expected) in
            [(Some("chat.v1, chat.v2"), "chat.v2"), (Some("chat.v1"), "chat.v1")]
        {
            let path = "/api/v1/chat/tea?name=ada";
            // The answer with its protocol is noted, and tungstenite refuses one it did not offer.
            let mut ada = site.websocket(path, offers).expect(expected);
            hear(&mut ada);
            ada.close(None).expect("it takes it");
            while ada.read().is_ok() {}
        }
    });
}

#[test]
fn who_may_not_talk_gets_another_answer() {
    on_both(|site| {
        let nameless = site.websocket("/api/v1/chat/tea?name=", None);
        assert_eq!(nameless.err().map(|status| status.as_u16()), Some(403));
        let unasked = site.websocket("/api/v1/chat/tea", None);
        assert_eq!(unasked.err().map(|status| status.as_u16()), Some(400));
        let elsewhere = site.websocket("/api/v1/nothing", None);
        assert_eq!(elsewhere.err().map(|status| status.as_u16()), Some(404));
        // No upgrade is offered at all.
        assert_eq!(site.get("/api/v1/chat/tea?name=ada").status, 400);
    });
}

/// A frame that no client may send: the application's protocol finds it, not the server.
#[test]
fn a_guest_that_breaks_the_protocol_is_gone() {
    on_both(|site| {
        let mut ada = site.websocket("/api/v1/chat/tea?name=ada", None).expect("a WebSocket");
        assert_eq!(hear(&mut ada), "ada comes");
        let mut bob = site.websocket("/api/v1/chat/tea?name=bob", None).expect("a WebSocket");
        assert_eq!(hear(&mut ada), "bob comes");
        bob.get_mut().write_all(b"\x81\x05Hello").expect("it takes them");
        assert_eq!(hear(&mut ada), "bob goes");
        let mut rest = Vec::new();
        let _ = bob.get_mut().read_to_end(&mut rest);
        ada.close(None).expect("it takes it");
        while ada.read().is_ok() {}
    });
}
