//! What a file system may have on disk when the power fails: pure, from the operations that a program did.
//!
//! A file's data are durable as of the last fsync of the file, a folder's names as of the last fsync of the folder; of all
//! that came later a file system may have kept nothing, everything, or any part. Real ones promise more (ext4 and XFS keep
//! names in order, and rename both names or none), but POSIX does not, and the recorder is not to depend on it. How each
//! [`Loss`] picks from what is not durable is said there.

use super::{Event, Op, Random};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Files with their data and folders (none), by path.
pub type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What is lost with the power.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// Whatever is not durable: data, and names. A file that was moved is where it was made durable last, which may be in
    /// both places or in none.
    Everything,
    /// Data that are not durable. Names are all kept, so that files are shorter than they were.
    Data,
    /// Likewise, but files have their size: what is lost reads as zeros.
    DataAsZeros,
    /// Nothing: the process was killed.
    Nothing,
    /// What chance picks of the writes and names that are not durable, in no order, writes in part; a rename as a whole.
    Chance(u64),
}

/// The operations so far, as the program sees them and as the disk has them.
#[derive(Clone, Debug)]
pub struct Disk {
    nodes: Vec<Node>,
    /// The node that has the inode now: numbers are used again.
    inodes: HashMap<u64, usize>,
    /// Names that are durable because another half of their operation is.
    forced: BTreeSet<usize>,
    operations: usize,
}

#[derive(Clone, Debug)]
enum Node {
    File { durable: Vec<u8>, pending: Vec<Change> },
    Folder { durable: BTreeMap<String, usize>, pending: Vec<Naming> },
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Resize(usize),
}

/// A name is given to a node, or taken away, by an operation.
#[derive(Clone, Debug)]
struct Naming {
    name: String,
    node: Option<usize>,
    operation: usize,
}

const ROOT: usize = 0;

impl Disk {
    /// A folder as it is now, all of it durable.
    pub fn new(root: &Path) -> Disk {
        let mut disk = Disk { nodes: Vec::new(), inodes: HashMap::new(), forced: BTreeSet::new(), operations: 0 };
        disk.take_in(root);
        disk
    }

    fn take_in(&mut self, path: &Path) -> usize {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(path).unwrap();
        let node = self.add(metadata.ino(), metadata.is_dir());
        if metadata.is_dir() {
            for entry in std::fs::read_dir(path).unwrap() {
                let entry = entry.unwrap();
                let child = self.take_in(&entry.path());
                let name = entry.file_name().into_string().unwrap();
                if let Node::Folder { durable, .. } = &mut self.nodes[node] {
                    durable.insert(name, child);
                }
            }
        } else if let Node::File { durable, .. } = &mut self.nodes[node] {
            *durable = std::fs::read(path).unwrap();
        }
        node
    }

    fn add(&mut self, inode: u64, folder: bool) -> usize {
        self.nodes.push(if folder {
            Node::Folder { durable: BTreeMap::new(), pending: Vec::new() }
        } else {
            Node::File { durable: Vec::new(), pending: Vec::new() }
        });
        self.inodes.insert(inode, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// The next operation.
    pub fn apply(&mut self, event: &Event) {
        self.operations += 1;
        let inode = || *self.inodes.get(&event.inode).unwrap_or_else(|| panic!("an unknown file: {event:?}"));
        match &event.op {
            Op::Create(path) => {
                let node = self.add(event.inode, false);
                self.name(path, Some(node));
            }
            Op::Mkdir(path) => {
                let node = self.add(event.inode, true);
                self.name(path, Some(node));
            }
            Op::Write { offset, data } => {
                let node = inode();
                self.change(node, Change::Write { offset: *offset as usize, data: data.clone() });
            }
            Op::Truncate { size } => {
                let node = inode();
                self.change(node, Change::Resize(*size as usize));
            }
            Op::Fsync => {
                let node = inode();
                self.make_durable(node);
            }
            Op::Rename(from, to) => {
                let node = self.find(from);
                self.name(from, None);
                self.name(to, Some(node));
            }
            Op::Link(from, to) => {
                let node = self.find(from);
                self.name(to, Some(node));
            }
            Op::Remove(path) => self.name(path, None),
            Op::Saved { .. } | Op::Fault { .. } => {}
        }
    }

    fn change(&mut self, node: usize, change: Change) {
        let Node::File { pending, .. } = &mut self.nodes[node] else { panic!("data in a folder") };
        pending.push(change);
    }

    fn name(&mut self, path: &Path, node: Option<usize>) {
        let operation = self.operations;
        let folder = self.find(path.parent().unwrap());
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Node::Folder { pending, .. } = &mut self.nodes[folder] else {
            panic!("{}: not in a folder", path.display())
        };
        pending.push(Naming { name, node, operation });
    }

    fn make_durable(&mut self, node: usize) {
        match &mut self.nodes[node] {
            Node::File { durable, pending } => pending.drain(..).for_each(|change| change.apply(durable)),
            Node::Folder { durable, pending } => {
                self.forced.extend(pending.iter().map(|naming| naming.operation));
                pending.drain(..).for_each(|naming| naming.apply(durable));
            }
        }
    }

    /// The node of a path, as the program sees it.
    fn find(&self, path: &Path) -> usize {
        path.iter().filter(|name| *name != ".").fold(ROOT, |folder, name| {
            let Node::Folder { durable, pending } = &self.nodes[folder] else {
                panic!("{}: not a folder", path.display())
            };
            let name = name.to_str().unwrap();
            let newest = pending.iter().rev().find(|naming| naming.name == name);
            newest
                .map_or_else(|| durable.get(name).copied(), |naming| naming.node)
                .unwrap_or_else(|| panic!("{}: absent", path.display()))
        })
    }

    /// What is there when the power comes back.
    pub fn after(&self, loss: Loss) -> Tree {
        let mut chance = Random::new(if let Loss::Chance(seed) = loss { seed } else { 0 });
        let kept = chance.unit();
        let operations: BTreeSet<usize> = (0..=self.operations).filter(|_| chance.unit() < kept).collect();
        let named = |naming: &&Naming| match loss {
            Loss::Everything => false,
            Loss::Data | Loss::DataAsZeros | Loss::Nothing => true,
            Loss::Chance(_) => operations.contains(&naming.operation) || self.forced.contains(&naming.operation),
        };
        let mut tree = Tree::new();
        let mut folders = vec![(PathBuf::new(), ROOT)];
        while let Some((path, folder)) = folders.pop() {
            let Node::Folder { durable, pending } = &self.nodes[folder] else { continue };
            let mut names = durable.clone();
            pending.iter().filter(named).for_each(|naming| naming.clone().apply(&mut names));
            for (name, node) in names {
                let path = path.join(name);
                match &self.nodes[node] {
                    Node::Folder { .. } => {
                        tree.insert(path.clone(), None);
                        folders.push((path, node));
                    }
                    Node::File { durable, pending } => {
                        tree.insert(path, Some(data(durable, pending, loss, &mut chance)));
                    }
                }
            }
        }
        tree
    }
}

/// A file's data when the power comes back.
fn data(durable: &[u8], pending: &[Change], loss: Loss, chance: &mut Random) -> Vec<u8> {
    let mut data = durable.to_vec();
    let kept = chance.unit();
    let mut whole = durable.to_vec();
    for change in pending {
        change.clone().apply(&mut whole);
        match loss {
            Loss::Everything | Loss::Data | Loss::DataAsZeros => {}
            Loss::Nothing => change.clone().apply(&mut data),
            Loss::Chance(_) if chance.unit() >= kept => {}
            Loss::Chance(_) => change.clone().torn(chance).apply(&mut data),
        }
    }
    // The size is among the names' metadata.
    if loss == Loss::DataAsZeros || matches!(loss, Loss::Chance(_)) && chance.unit() < 0.5 {
        data.resize(whole.len(), 0);
    }
    data
}

impl Change {
    fn apply(self, data: &mut Vec<u8>) {
        match self {
            Change::Resize(size) => data.resize(size, 0),
            Change::Write { offset, data: new } => {
                data.resize(data.len().max(offset + new.len()), 0);
                data[offset..offset + new.len()].copy_from_slice(&new);
            }
        }
    }

    /// One write of four is written in part: up to a sector's end.
    fn torn(self, chance: &mut Random) -> Change {
        const SECTOR: usize = 512;
        match self {
            Change::Write { offset, mut data } if chance.unit() < 0.25 => {
                let end = offset + chance.below(data.len() as u64) as usize;
                data.truncate((end / SECTOR * SECTOR).saturating_sub(offset));
                Change::Write { offset, data }
            }
            other => other,
        }
    }
}

impl Naming {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self.node {
            Some(node) => names.insert(self.name, node),
            None => names.remove(&self.name),
        };
    }
}

/// What is below a folder; nothing if it is not there.
pub fn read_tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    if !root.exists() {
        return tree;
    }
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            let relative = path.strip_prefix(root).unwrap().to_owned();
            if path.is_dir() {
                tree.insert(relative, None);
                folders.push(path);
            } else {
                tree.insert(relative, Some(std::fs::read(&path).unwrap()));
            }
        }
    }
    tree
}

/// Makes a folder hold what a tree says; it must be empty or absent.
pub fn write_tree(root: &Path, tree: &Tree) {
    std::fs::create_dir_all(root).unwrap();
    for (path, data) in tree {
        match data {
            None => std::fs::create_dir_all(root.join(path)).unwrap(),
            Some(data) => std::fs::write(root.join(path), data).unwrap(),
        }
    }
}
