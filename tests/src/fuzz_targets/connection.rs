//! Whole connections: the same events however the bytes arrive.

use sidecore::codec::{Event, Framing, RequestDecoder};

use super::{BODY_SIZE_MAX_BYTES, Cuts, LIMITS};

/// The events of a connection, its data joined, do not depend on how its bytes are split; a body
/// is as long as its framing says and never longer than is allowed, and nothing follows a refusal.
pub fn connection(data: &[u8]) {
    let (cuts, input) = Cuts::split_off(data);
    let whole = events(&[input]);
    assert_eq!(events(&cuts.pieces(input)), whole, "in pieces");
    assert_eq!(events(&input.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
}

fn events(pieces: &[&[u8]]) -> Vec<String> {
    let mut decoder = RequestDecoder::new(LIMITS, BODY_SIZE_MAX_BYTES);
    let mut log = Log::default();
    for piece in pieces {
        decoder.feed(piece);
        while log.take(decoder.next_event()) {}
    }
    if let Err(reject) = decoder.finish() {
        log.events.push(format!("{reject:?}"));
    }
    assert_eq!(decoder.next_event(), Ok(Event::Closed), "it is over");
    log.flush();
    log.events
}

/// Events in their order, with what must hold between them.
#[derive(Debug, Default)]
struct Log {
    events: Vec<String>,
    data: Vec<u8>,
    /// Where in a request it is, and whether another may follow it.
    body: Option<(Framing, bool)>,
    over: bool,
}

impl Log {
    /// Notes an event; false where more bytes are needed.
    fn take(&mut self, event: Result<Event, sidecore::codec::Reject>) -> bool {
        let goes_on = !matches!(event, Ok(Event::Incomplete | Event::Closed));
        assert!(!(self.over && goes_on), "nothing follows the end: {event:?}");
        match event {
            Ok(Event::Head(head)) => {
                assert!(self.body.is_none(), "a request begins when the last is over");
                self.body = Some((head.framing, head.keep_alive));
                self.events.push(format!("{head:?}"));
            }
            Ok(Event::Data(data)) => {
                assert!(!data.is_empty() && self.body.is_some());
                self.data.extend_from_slice(&data);
                assert!(self.data.len() as u64 <= BODY_SIZE_MAX_BYTES);
            }
            Ok(Event::End(trailers)) => {
                let (framing, keep_alive) = self.body.take().expect("an end has its beginning");
                match framing {
                    Framing::None => assert!(self.data.is_empty()),
                    Framing::Length(length) => assert_eq!(self.data.len() as u64, length),
                    Framing::Chunked => {}
                }
                self.flush();
                self.events.push(format!("end {trailers:?}"));
                self.over = !keep_alive;
            }
            Ok(Event::Incomplete | Event::Closed) => {}
            Err(reject) => {
                self.flush();
                self.events.push(format!("{reject:?}"));
                self.over = true;
            }
        }
        goes_on
    }

    fn flush(&mut self) {
        if !self.data.is_empty() {
            self.events.push(format!("{:?}", std::mem::take(&mut self.data)));
        }
    }
}
