//! From a copy of registers and stack to frames with names.

use std::ffi::c_void;
use std::io;
use std::ptr;

use framehop::{CacheNative, FrameAddress, UnwindRegsNative, Unwinder, UnwinderNative};

use super::capture::Copied;
use super::modules::Modules;
use super::{STACK_FRAMES_MAX, Stack, StackEnd, StackFrame};

/// The functions that call each job (`worker.rs`) and each local task (`executor/tasks.rs`). Frames from
/// there on are our own.
const OUTERMOST: [&str; 2] = ["__sidecore_job", "__sidecore_poll"];
/// Bytes of a name: those of generic functions have no end.
const NAME_MAX: usize = 256;

/// The frames of a thread's job.
pub(super) fn frames(copied: &Copied) -> Stack {
    match Modules::read() {
        Ok(mut modules) => Walk::over(copied, &mut modules),
        Err(cause) => {
            let end = StackEnd::Unreadable(format!("/proc/self/maps and mem: {cause}"));
            Stack { frames: Vec::new(), end }
        }
    }
}

/// A walk from frame to frame.
struct Walk<'a> {
    modules: &'a mut Modules,
    unwinder: UnwinderNative<Vec<u8>, framehop::MayAllocateDuringUnwind>,
    frames: Vec<StackFrame>,
}

impl Walk<'_> {
    fn over(copied: &Copied, modules: &mut Modules) -> Stack {
        let mut walk = Walk { modules, unwinder: UnwinderNative::new(), frames: Vec::new() };
        let end = match (walk.walk(copied), copied.error) {
            (end, None) | (end @ StackEnd::Job, _) => end,
            (_, Some(error)) => not_copied(error),
        };
        Stack { frames: walk.frames, end }
    }

    fn walk(&mut self, copied: &Copied) -> StackEnd {
        let [pc, sp, ..] = copied.registers;
        let first = sp.checked_next_multiple_of(8).unwrap_or(u64::MAX);
        let mut read = |address: u64| {
            let offset = address.checked_sub(first).ok_or(())?;
            let word = usize::try_from(offset / 8).map_err(drop)?;
            (offset % 8 == 0).then(|| copied.words.get(word).copied()).flatten().ok_or(())
        };
        let mut registers = registers(copied);
        let mut cache = CacheNative::new();
        let mut address = FrameAddress::from_instruction_pointer(pc);
        loop {
            let Some(module) = self.load(address.address_for_lookup()) else {
                return StackEnd::Cut;
            };
            if let Some(end) = self.name(address, module) {
                return end;
            }
            match self.unwinder.unwind_frame(address, &mut registers, &mut cache, &mut read) {
                Ok(Some(next)) => match FrameAddress::from_return_address(next) {
                    Some(next) => address = next,
                    None => return StackEnd::Thread,
                },
                Ok(None) => return StackEnd::Thread,
                Err(_) => return StackEnd::Cut,
            }
        }
    }

    /// The module of an address, its tables known to the unwinder.
    fn load(&mut self, address: u64) -> Option<usize> {
        let index = self.modules.at(address)?;
        if !std::mem::replace(&mut self.modules.mapped[index].is_loaded, true)
            && let Some(tables) = self.modules.tables(index)
        {
            self.unwinder.add_module(tables);
        }
        Some(index)
    }

    /// Notes the functions at an address, the inlined ones first; Some: the walk is over.
    fn name(&mut self, address: FrameAddress, module: usize) -> Option<StackEnd> {
        let module = Some(self.modules.mapped[module].name.clone());
        let at = address.address();
        // The resolver looks one byte before what it is given, as a return address wants it.
        let asked = if address.is_return_address() { at } else { at.wrapping_add(1) };
        let (frames, mut end, mut is_named) = (&mut self.frames, None, false);
        backtrace::resolve(ptr::without_provenance_mut::<c_void>(asked as usize), |symbol| {
            if end.is_some() {
                return;
            }
            is_named = true;
            let function = symbol.name().map(|name| format!("{name:#}"));
            let is_ours = |function: &String| OUTERMOST.iter().any(|name| function.contains(name));
            if function.as_ref().is_some_and(is_ours) {
                end = Some(StackEnd::Job);
            } else if frames.len() == STACK_FRAMES_MAX {
                end = Some(StackEnd::Cut);
            } else {
                let file = symbol.filename().map(|file| file.display().to_string());
                let function = function.map(cut);
                let (line, module) = (symbol.lineno(), module.clone());
                frames.push(StackFrame { address: at, function, file, line, module });
            }
        });
        if !is_named && frames.len() < STACK_FRAMES_MAX {
            frames.push(StackFrame { address: at, function: None, file: None, line: None, module });
        } else if !is_named {
            end = Some(StackEnd::Cut);
        }
        end
    }
}

#[cfg(target_arch = "x86_64")]
fn registers(copied: &Copied) -> UnwindRegsNative {
    let [pc, sp, frame_pointer, _] = copied.registers;
    UnwindRegsNative::new(pc, sp, frame_pointer)
}

#[cfg(target_arch = "aarch64")]
fn registers(copied: &Copied) -> UnwindRegsNative {
    let [_, sp, frame_pointer, link] = copied.registers;
    // Linux's user space has 48 bits of addresses, or 52 where it is asked for; above them a return
    // address may be signed.
    let mask = framehop::aarch64::PtrAuthMask(u64::MAX >> 12);
    UnwindRegsNative::new_with_ptr_auth_mask(mask, link, sp, frame_pointer)
}

/// Without a copy there is the innermost function, by the registers.
fn not_copied(error: u32) -> StackEnd {
    let cause = io::Error::from_raw_os_error(error as i32);
    StackEnd::Unreadable(format!(
        "the kernel refused to copy it: {cause}; allow the system call process_vm_readv for this \
         process (seccomp, a container's profile), or set task_stack_signal to 0"
    ))
}

/// A name of bounded length.
fn cut(mut name: String) -> String {
    if name.len() > NAME_MAX {
        name.truncate(name.floor_char_boundary(NAME_MAX));
        name.push_str("...");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_stack_give_what_is_known_and_no_panic() {
        let here = bytes_that_are_no_stack_give_what_is_known_and_no_panic as fn();
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed
        };
        for round in 0..24_usize {
            let pc = match round % 4 {
                0 => 0,
                1 => random(),
                2 => u64::MAX,
                _ => here as usize as u64 + random() % 64,
            };
            let sp = [random(), u64::MAX, 0x7fff_0000_0000][round % 3];
            let words = (0..random() % 64).map(|_| sp.wrapping_add(random() % 512)).collect();
            let copied = Copied { registers: [pc, sp, sp.wrapping_add(16), 0], words, error: None };
            let stack = frames(&copied);
            assert!(!matches!(stack.end, StackEnd::Off | StackEnd::Job), "{stack}");
            assert_eq!(stack.frames.is_empty(), round % 4 != 3, "{stack}");
        }
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(cut("short".to_owned()), "short");
        assert_eq!(cut("é".repeat(200)).chars().count(), 128 + 3);
    }
}
