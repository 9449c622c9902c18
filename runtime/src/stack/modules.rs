//! The executables and libraries of this process, and their unwind tables, as they are in memory.
//!
//! They are read through `/proc/self/mem`: what runs is what was mapped, also where the file has
//! since been replaced, and the kernel's vDSO has no file at all.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use framehop::{ExplicitModuleSectionInfo, Module};
use object::LittleEndian;
use object::elf::{FileHeader64, PF_X, PT_GNU_EH_FRAME, PT_LOAD, ProgramHeader64, ProgramType};
use object::read::elf::{FileHeader, ProgramHeader};

/// Bytes of a module's beginning that hold its program headers.
const HEADERS_BYTES: usize = 4096;
/// Of one section that is read: a header that claims more is not believed.
const SECTION_BYTES_MAX: u64 = 256 << 20;

/// A module: its name and what of its code is mapped.
pub(super) struct Mapped {
    pub(super) name: Arc<str>,
    pub(super) code: Vec<Range<u64>>,
    /// Where its first byte may be: the file may be mapped beside for other reasons, such as to read
    /// its symbols.
    starts: Vec<u64>,
    pub(super) is_loaded: bool,
}

/// The modules of this process, and its memory.
pub(super) struct Modules {
    pub(super) mapped: Vec<Mapped>,
    memory: File,
}

impl Modules {
    /// As they are mapped now.
    pub(super) fn read() -> io::Result<Self> {
        let maps = std::fs::read_to_string("/proc/self/maps")?;
        Ok(Modules { mapped: modules_of(&maps), memory: File::open("/proc/self/mem")? })
    }

    /// The module that the code at this address is of.
    pub(super) fn at(&self, address: u64) -> Option<usize> {
        let holds = |module: &Mapped| module.code.iter().any(|range| range.contains(&address));
        self.mapped.iter().position(holds)
    }

    /// The unwind tables of one of them, if it has some.
    pub(super) fn tables(&self, index: usize) -> Option<Module<Vec<u8>>> {
        let module = &self.mapped[index];
        module.starts.iter().find_map(|start| self.tables_from(module, *start))
    }

    /// The same, where its first byte is there: its headers are, and say so of its code.
    fn tables_from(&self, module: &Mapped, start: u64) -> Option<Module<Vec<u8>>> {
        let head = self.bytes(start..start + HEADERS_BYTES as u64)?;
        let header = FileHeader64::<LittleEndian>::parse(&*head).ok()?;
        let segments = Segments(header.program_headers(LittleEndian, &*head).ok()?);
        let loaded = || segments.of(PT_LOAD);
        // What the linker calls 0 is here.
        let bias = start.wrapping_sub(loaded().next()?.range.start & !(HEADERS_BYTES as u64 - 1));
        let at = |range: &Range<u64>| bias.wrapping_add(range.start)..bias.wrapping_add(range.end);
        // A mapping begins with the page in which its segment does.
        let is_mapped =
            |code: &Range<u64>| module.code.iter().any(|range| range.contains(&code.start));
        let is_code = |segment: &Segment| segment.is_code && is_mapped(&at(&segment.range));
        let code = loaded().find(is_code)?.range;
        let index_range = segments.of(PT_GNU_EH_FRAME).next()?.range;
        let index = self.bytes(at(&index_range))?;
        let first = tables_start(&index, index_range.start)?;
        let holder = loaded().find(|segment| segment.range.contains(&first))?;
        let tables_range = first..holder.range.end;
        let tables = self.bytes(at(&tables_range))?;
        let sections = ExplicitModuleSectionInfo {
            base_svma: 0,
            text_svma: Some(code.clone()),
            eh_frame_svma: Some(tables_range),
            eh_frame: Some(tables),
            eh_frame_hdr_svma: Some(index_range),
            eh_frame_hdr: Some(index),
            ..ExplicitModuleSectionInfo::default()
        };
        Some(Module::new(module.name.to_string(), at(&code), bias, sections))
    }

    fn bytes(&self, range: Range<u64>) -> Option<Vec<u8>> {
        let length = range.end.checked_sub(range.start)?;
        if length > SECTION_BYTES_MAX {
            return None;
        }
        let mut bytes = vec![0; length as usize];
        self.memory.read_exact_at(&mut bytes, range.start).ok()?;
        Some(bytes)
    }
}

/// The program headers of a module.
struct Segments<'a>(&'a [ProgramHeader64<LittleEndian>]);

/// One of them: the addresses that the linker gave it.
struct Segment {
    range: Range<u64>,
    is_code: bool,
}

impl Segments<'_> {
    fn of(&self, kind: ProgramType) -> impl Iterator<Item = Segment> {
        let of_kind = self.0.iter().filter(move |segment| segment.p_type(LittleEndian) == kind);
        of_kind.filter_map(|segment| {
            let start = segment.p_vaddr(LittleEndian);
            let range = start..start.checked_add(segment.p_memsz(LittleEndian))?;
            Some(Segment { range, is_code: segment.p_flags(LittleEndian).contains(PF_X) })
        })
    }
}

/// Where the tables begin that an index of them (`.eh_frame_hdr`, Linux Standard Base Core 5.0
/// §10.6.2) at that address is of. Linkers write it relative to its own place, in 4 bytes.
fn tables_start(index: &[u8], address: u64) -> Option<u64> {
    const RELATIVE_4_BYTES: u8 = 0x1b;
    let [1, RELATIVE_4_BYTES, _, _, a, b, c, d, ..] = *index else { return None };
    address.checked_add(4)?.checked_add_signed(i32::from_le_bytes([a, b, c, d]).into())
}

/// The modules of `/proc/self/maps` (proc_pid_maps(5)) that have code.
fn modules_of(maps: &str) -> Vec<Mapped> {
    let mut modules = Vec::<Mapped>::new();
    for line in maps.lines() {
        let mut fields = line.splitn(6, ' ');
        let (Some(range), Some(rights), Some(offset)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let name = fields.nth(2).unwrap_or_default().trim_start();
        let range = range.split_once('-').and_then(|(start, end)| Some(hex(start)?..hex(end)?));
        let Some(range) = range.filter(|_| !name.is_empty()) else { continue };
        let begins = hex(offset) == Some(0);
        let known = modules.last().is_some_and(|last| &*last.name == name);
        if !known && begins {
            let (code, starts) = (Vec::new(), Vec::new());
            modules.push(Mapped { name: name.into(), code, starts, is_loaded: false });
        } else if !known {
            continue;
        }
        let Some(module) = modules.last_mut() else { continue };
        if begins {
            module.starts.push(range.start);
        }
        if rights.contains('x') {
            module.code.push(range);
        }
    }
    modules.retain(|module| !module.code.is_empty());
    modules
}

fn hex(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_told_apart_and_those_without_code_left_out() {
        let maps = "\
55cfff000000-55cfff005000 r--p 00000000 08:01 7                          /opt/my server
55d000000000-55d000001000 r--p 00000000 08:01 7                          /opt/my server
55d000001000-55d000003000 r-xp 00001000 08:01 7                          /opt/my server
55d000003000-55d000004000 rw-p 00003000 08:01 7                          /opt/my server
55d000104000-55d000125000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000001000 r--p 00000000 08:01 8                          /usr/share/zone
7f0000002000-7f0000003000 rw-p 00000000 00:00 0
7ffc00000000-7ffc00002000 r-xp 00000000 00:00 0                          [vdso]
no such line
";
        let modules = modules_of(maps);
        let seen: Vec<_> = modules
            .iter()
            .map(|module| (&*module.name, &*module.starts, module.code[0].start))
            .collect();
        assert_eq!(
            seen,
            [
                ("/opt/my server", &[0x55cf_ff00_0000, 0x55d0_0000_0000][..], 0x55d0_0000_1000),
                ("[vdso]", &[0x7ffc_0000_0000][..], 0x7ffc_0000_0000)
            ]
        );
    }

    /// Also where the file is mapped beside it once more, as who reads its symbols does.
    #[test]
    fn all_modules_of_this_process_have_tables() {
        for round in 0..3 {
            let modules = Modules::read().expect("this process may read itself");
            for index in 0..modules.mapped.len() {
                let name = &modules.mapped[index].name;
                // The page of old system calls, and what was made without tables.
                if !name.starts_with("[vsyscall") {
                    assert!(modules.tables(index).is_some(), "{name} in round {round}");
                }
            }
            backtrace::resolve(libc::recv as *mut std::ffi::c_void, |_| {});
        }
    }

    #[test]
    fn an_index_of_another_kind_is_refused() {
        assert_eq!(tables_start(&[1, 0x1b, 3, 0x3b, 0xfc, 0, 0, 0], 0x1000), Some(0x1100));
        assert_eq!(tables_start(&[2, 0x1b, 3, 0x3b, 0xfc, 0, 0, 0], 0x1000), None);
        assert_eq!(tables_start(&[1, 0x1b, 3], 0x1000), None);
        assert_eq!(tables_start(&[1, 0x1b, 3, 0x3b, 0, 0, 0, 0x80], 0x1000), None);
    }
}
