//! A cache that is bounded in entries and in bytes: the least recently used ones give way.

use std::hash::Hash;
use std::io;
use std::num::NonZeroUsize;

use lru::LruCache;
use serde::Serialize;

/// Values by key, with what each weighs.
pub struct Weighed<K: Hash + Eq, V> {
    entries: LruCache<K, (usize, V)>,
    bytes: usize,
    bytes_max: usize,
}

impl<K: Hash + Eq, V> Weighed<K, V> {
    /// An empty cache of so many entries and bytes, at most.
    pub fn new(entries: NonZeroUsize, bytes_max: usize) -> Self {
        Self { entries: LruCache::new(entries), bytes: 0, bytes_max }
    }

    /// A value, which counts as used.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// A value, which does not count as used.
    pub fn peek(&self, key: &K) -> Option<&V> {
        self.entries.peek(key).map(|(_, value)| value)
    }

    /// A value to be changed in place, without a change of its weight.
    pub fn peek_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.peek_mut(key).map(|(_, value)| value)
    }

    /// Takes a value out.
    pub fn pop(&mut self, key: &K) -> Option<V> {
        let (weight, value) = self.entries.pop(key)?;
        self.bytes -= weight;
        Some(value)
    }

    /// Puts a value in its place. One that alone outweighs the bound is not kept.
    pub fn put(&mut self, key: K, weight: usize, value: V) {
        self.pop(&key);
        if weight > self.bytes_max {
            return;
        }
        self.bytes += weight;
        // Of another key: the least recently used one, for want of an entry.
        if let Some((_, (gone, _))) = self.entries.push(key, (weight, value)) {
            self.bytes -= gone;
        }
        while self.bytes > self.bytes_max {
            let Some((_, (gone, _))) = self.entries.pop_lru() else { return };
            self.bytes -= gone;
        }
    }
}

/// About how much memory a value takes: itself, and what it would be in JSON for all that it points to.
pub fn weight_of<T: Serialize>(value: &T) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(size_of::<T>());
    // What cannot be written as JSON weighs as much as was written of it.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: usize, bytes: usize) -> Weighed<u8, &'static str> {
        Weighed::new(NonZeroUsize::new(entries).unwrap(), bytes)
    }

    #[test]
    fn the_least_recently_used_give_way_to_a_heavy_one() {
        let mut cache = cache(10, 100);
        for key in 0..4 {
            cache.put(key, 25, "light");
        }
        assert!(cache.get(&0).is_some());
        cache.put(9, 50, "heavy");
        let kept: Vec<u8> = (0..10).filter(|key| cache.peek(key).is_some()).collect();
        assert_eq!((kept, cache.bytes), (vec![0, 3, 9], 100));
    }

    #[test]
    fn what_is_replaced_or_taken_weighs_no_more() {
        let mut cache = cache(2, 100);
        cache.put(1, 60, "a");
        cache.put(1, 70, "b");
        assert_eq!((cache.peek(&1), cache.bytes), (Some(&"b"), 70));
        cache.put(2, 10, "c");
        cache.put(3, 10, "d");
        assert_eq!((cache.peek(&1), cache.bytes), (None, 20), "entries are bounded too");
        cache.put(4, 101, "too heavy");
        assert_eq!((cache.peek(&4), cache.peek(&3), cache.bytes), (None, Some(&"d"), 20));
        assert_eq!((cache.pop(&3), cache.pop(&3), cache.bytes), (Some("d"), None, 10));
        if let Some(value) = cache.peek_mut(&2) {
            *value = "changed";
        }
        assert_eq!(cache.get(&2), Some(&"changed"));
    }

    #[test]
    fn a_long_text_weighs_its_length() {
        assert!(weight_of(&"a".repeat(1_000)) >= 1_000 && weight_of(&()) <= 8);
    }
}
