//! The journal's thread: takes what has arrived, commits it, answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use sidecore_runtime::sys::instant;

use crate::command::{Append, Command, Completion, Settlement};
use crate::error::JournalError;
use crate::high_water_mark::HighWaterMark;
use crate::limits::JournalLimits;
use crate::record::{DeadLetter, Sequence};
use crate::shared::JournalShared;
use crate::store::{Store, WriteError, Written};

/// After which settlements are tried again that found the database busy or full.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How often they are tried at the close.
const CLOSE_TRIES_MAX: u32 = 3;
/// Settlements in one commit, so that a flood of them does not keep appends waiting for long.
const SETTLEMENTS_MAX: usize = 8 * 1024;

type Reply = SyncSender<Result<(), JournalError>>;

/// The only user of the database, and the lock's holder.
#[derive(Debug)]
pub(crate) struct Writer {
    store: Store,
    mark: HighWaterMark,
    commands: Receiver<Command>,
    shared: Arc<JournalShared>,
    limits: JournalLimits,
    /// Settlements were left over: there is work without a command.
    has_more: bool,
    /// Settlements of a group that could not be committed just then.
    deferred: Vec<Settlement>,
    /// When they are tried again.
    retry_at: Option<Instant>,
}

/// What is done with one commit.
#[derive(Debug, Default)]
struct Group {
    appends: Vec<Append>,
    settlements: Vec<Settlement>,
    reads: Vec<(Sequence, usize, Completion<Vec<DeadLetter>>)>,
    closes: Vec<Reply>,
}

impl Group {
    fn take(&mut self, command: Command) {
        match command {
            Command::Append(append) => self.appends.push(append),
            Command::Settle => {}
            Command::DeadLetters { after, max, done } => self.reads.push((after, max, done)),
            Command::Close { reply } => self.closes.push(reply),
        }
    }

    /// Whether someone waits for this group.
    fn is_urgent(&self) -> bool {
        !(self.appends.is_empty() && self.reads.is_empty() && self.closes.is_empty())
    }

    fn is_empty(&self) -> bool {
        !self.is_urgent() && self.settlements.is_empty()
    }
}

impl Writer {
    pub(crate) fn new(
        store: Store,
        mark: HighWaterMark,
        commands: Receiver<Command>,
        shared: Arc<JournalShared>,
        limits: JournalLimits,
    ) -> Self {
        Writer {
            store,
            mark,
            commands,
            shared,
            limits,
            has_more: false,
            deferred: Vec::new(),
            retry_at: None,
        }
    }

    /// Serves until it is told to close, or all handles are gone.
    pub(crate) fn run(mut self) {
        let mut closes = Vec::new();
        while closes.is_empty() {
            let mut group = Group::default();
            if !self.has_more {
                match self.wait() {
                    Some(command) => group.take(command),
                    None => break,
                }
                self.wait_for_others(&mut group);
            }
            self.collect(&mut group);
            closes.append(&mut group.closes);
            self.serve(group);
        }
        self.end(closes);
    }

    /// Waits for a command; `None` when nobody is left to give one.
    fn wait(&mut self) -> Option<Command> {
        loop {
            let times = [self.mark.sync_at(), self.retry_at];
            let Some(at) = times.into_iter().flatten().min() else {
                return self.commands.recv().ok();
            };
            let left = at.saturating_duration_since(Instant::now());
            match self.commands.recv_timeout(left) {
                Ok(command) => return Some(command),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if self.retry_at == Some(at) => {
                    return Some(Command::Settle);
                }
                Err(RecvTimeoutError::Timeout) => self.sync_mark(),
            }
        }
    }

    /// Settlements alone wait a while for more of them, or for an append to share its fsync.
    fn wait_for_others(&mut self, group: &mut Group) {
        let end = instant::after(self.limits.settle_delay);
        while !group.is_urgent() {
            match self.commands.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(command) => group.take(command),
                Err(_) => return,
            }
        }
    }

    /// Takes what has arrived, without waiting.
    fn collect(&mut self, group: &mut Group) {
        let group_max = self.limits.group_max.max(1);
        while group.appends.len() + group.reads.len() < group_max && group.closes.is_empty() {
            match self.commands.try_recv() {
                Ok(command) => group.take(command),
                Err(_) => break,
            }
        }
        self.shared.notified.clear();
        // Before later ones, in their order.
        group.settlements.append(&mut self.deferred);
        self.retry_at = None;
        while group.settlements.len() < SETTLEMENTS_MAX {
            match self.shared.settlements.pop() {
                Some(settlement) => group.settlements.push(settlement),
                None => break,
            }
        }
        self.has_more = group.settlements.len() >= SETTLEMENTS_MAX;
    }

    /// Commits a group, then answers all who wait for it.
    fn serve(&mut self, group: Group) {
        let Group { appends, settlements, reads, .. } = group;
        if !(appends.is_empty() && settlements.is_empty()) {
            match self.commit(&appends, &settlements) {
                Ok(written) => {
                    self.answer(appends, written);
                    let over = settlements.iter().filter(|it| it.outcome.is_final());
                    self.shared.attempts.free(over.map(|settlement| settlement.sequence));
                }
                Err(failure) => {
                    self.refuse(appends, &failure);
                    if self.shared.failure().is_none() {
                        self.deferred = settlements;
                        self.retry_at = Some(instant::after(RETRY_PAUSE));
                        self.has_more = false;
                    }
                }
            }
            // After the answers, which need not wait for it.
            if self.shared.failure().is_none()
                && let Err(error) = self.store.checkpoint()
            {
                self.shared.poison(&error);
            }
        }
        for (after, max, done) in reads {
            let file = &self.shared.file;
            let found = self.store.dead_letters(after, max);
            done.call(found.map_err(|cause| JournalError::sqlite("read", file, cause)));
        }
        if self.mark.sync_at().is_some_and(|at| at <= Instant::now()) {
            self.sync_mark();
        }
    }

    fn commit(
        &mut self,
        appends: &[Append],
        settlements: &[Settlement],
    ) -> Result<Written, JournalError> {
        if let Some(failure) = self.shared.failure() {
            return Err(failure);
        }
        if self.mark.is_removed() {
            return Err(self
                .shared
                .poison(&"its files were removed; start again to make new ones"));
        }
        let written = self.store.write(appends, settlements, self.limits.dead_max).map_err(
            |WriteError { cause, is_rolled_back }| match is_rolled_back {
                true => JournalError::sqlite("write to", &self.shared.file, cause),
                false => self.shared.poison(&cause),
            },
        )?;
        self.mark
            .write(self.store.totals().progress())
            .map_err(|cause| self.shared.poison(&cause))?;
        Ok(written)
    }

    fn answer(&self, appends: Vec<Append>, written: Written) {
        let shared = &self.shared;
        shared.appended.fetch_add(appends.len() as u64, Ordering::Relaxed);
        shared.acked.fetch_add(written.acked, Ordering::Relaxed);
        shared.retried.fetch_add(written.retried, Ordering::Relaxed);
        shared.dead.fetch_add(written.dead, Ordering::Relaxed);
        shared.dead_dropped.fetch_add(written.dead_dropped, Ordering::Relaxed);
        shared.commits.fetch_add(1, Ordering::Relaxed);
        let bytes = appends.iter().map(|append| append.payload.len()).sum();
        shared.release(written.acked + written.dead, bytes);
        for (sequence, append) in (written.first..).zip(appends) {
            append.done.call(Ok(sequence));
        }
    }

    fn refuse(&self, appends: Vec<Append>, failure: &JournalError) {
        for append in appends {
            self.shared.release(1, append.payload.len());
            append.done.call(Err(failure.clone()));
        }
    }

    fn sync_mark(&mut self) {
        if let Err(error) = self.mark.sync() {
            self.shared.poison(&error);
            self.mark.give_up();
        }
    }

    /// Flushes what has arrived since, closes the files, gives the lock back and replies.
    fn end(mut self, mut closes: Vec<Reply>) {
        self.shared.closing.store(true, Ordering::Relaxed);
        let mut tries = 0;
        loop {
            let mut group = Group::default();
            self.collect(&mut group);
            closes.append(&mut group.closes);
            if group.is_empty() {
                break;
            }
            self.serve(group);
            if !self.deferred.is_empty() {
                tries += 1;
                if tries == CLOSE_TRIES_MAX {
                    // Their records stay, and are delivered again.
                    self.shared.poison(&"the last settlements could not be written");
                    break;
                }
                std::thread::sleep(RETRY_PAUSE);
            }
        }
        let Writer { store, mut mark, commands, shared, .. } = self;
        let result = match shared.failure() {
            Some(failure) => Err(failure),
            None => store
                .close()
                .map_err(|cause| shared.poison(&cause))
                .and_then(|()| mark.sync().map_err(|cause| shared.poison(&cause))),
        };
        // The lock goes before the reply, so that who waited for it can open the journal again.
        drop(mark);
        drop(commands);
        for reply in closes {
            let _ = reply.try_send(result.clone());
        }
    }
}
