//! Who sits in a table, and what lies in it, on caches of one number for each token.

use super::*;

/// A sequence of two layers with so many tokens, each of which is its number plus `first`; values are negative.
fn sequence(first: i32, len: i32) -> Vec<Cache> {
    let numbers: Vec<f32> = (first..first + len).map(|number| number as f32).collect();
    let keys = Array::from_slice(&numbers, &[1, 1, len, 1]);
    let layer = || {
        let mut cache = FullCache::default();
        cache.update(&keys, &keys.negative().unwrap()).unwrap();
        Cache::Full(cache)
    };
    vec![layer(), layer()]
}

/// A step in which each of `sequences` gets the next of its numbers; the table of those that sit.
fn step(sequences: &mut [&mut Vec<Cache>], firsts: &[i32]) -> Option<Rc<RefCell<Table>>> {
    let mut rows: Vec<&mut [Cache]> = sequences.iter_mut().map(|caches| caches.as_mut_slice()).collect();
    let table = gather(&mut rows, true).unwrap();
    let mut new = vec![-1.0; table.as_ref().map_or(0, |table| table.borrow().slots())];
    let mut taking = Vec::new();
    for (caches, first) in rows.iter_mut().zip(firsts) {
        let next = (first + caches[0].len()) as f32;
        if let Some(seat) = seat_of(caches) {
            new[seat.slot()] = next;
            taking.push(seat.slot());
            continue;
        }
        let next = Array::from_slice(&[next], &[1, 1, 1, 1]);
        for cache in caches.iter_mut() {
            let Cache::Full(cache) = cache else { panic!("another cache") };
            cache.update(&next, &next.negative().unwrap()).unwrap();
        }
    }
    let new = Array::from_slice(&new, &[new.len() as i32, 1, 1, 1]);
    if let Some(table) = &table {
        let mut table = table.borrow_mut();
        table.begin().unwrap();
        for layer in 0..2 {
            let [keys, values] = table.update(layer, &new, &new.negative().unwrap()).unwrap();
            let seen = &table.places().unwrap().seen;
            transforms::eval([&keys, &values, seen]).unwrap();
        }
        table.end(&taking);
    }
    table
}

/// What a sequence has, in buffers of its own or not: `len` numbers from `first` on.
fn check(caches: &[Cache], first: i32, len: i32) {
    assert_eq!(caches[0].len(), len);
    for cache in caches {
        let Cache::Full(cache) = cache else { panic!("another cache") };
        let [keys, values] = cache.rows(0..len).unwrap();
        let expected: Vec<f32> = (first..first + len).map(|number| number as f32).collect();
        assert_eq!(keys.reshape(&[-1]).unwrap().to_vec_exact::<f32>().unwrap(), expected);
        assert_eq!(values.negative().unwrap().reshape(&[-1]).unwrap().to_vec_exact::<f32>().unwrap(), expected);
    }
}

#[test]
fn sequences_that_share_keep_what_they_have_wherever_they_sit() {
    let mut all = [sequence(0, 100), sequence(1000, 255), sequence(2000, 3), sequence(3000, 250)];
    let firsts = [0, 1000, 2000, 3000];
    let mut lens = [100, 255, 3, 250];
    // Who takes part in each step; rows are added, left out, grow beyond a step, and one remains alone.
    let turns: [&[usize]; 8] =
        [&[0, 1], &[0, 1], &[0, 1, 2, 3], &[1, 3], &[0, 2], &[0, 1, 2, 3], &[3, 2, 1, 0], &[2, 3]];
    for turn in turns.into_iter().chain([[0, 1, 2, 3].as_slice(); 8]) {
        let mut taking: Vec<(usize, &mut Vec<Cache>)> =
            all.iter_mut().enumerate().filter(|(place, _)| turn.contains(place)).collect();
        let places: Vec<usize> = taking.iter().map(|(place, _)| *place).collect();
        let mut rows: Vec<&mut Vec<Cache>> = taking.iter_mut().map(|(_, caches)| &mut **caches).collect();
        step(&mut rows, &places.iter().map(|place| firsts[*place]).collect::<Vec<_>>()).expect("they share");
        for place in places {
            lens[place] += 1;
        }
        for ((caches, first), len) in all.iter().zip(firsts).zip(lens) {
            check(caches, first, len);
        }
    }
    for ((caches, first), len) in all.iter_mut().zip(firsts).zip(lens) {
        let forked: Vec<Cache> = caches.iter().map(|cache| cache.fork().unwrap()).collect();
        leave(caches).unwrap();
        for caches in [&*caches, &forked] {
            assert!(seat_of(caches).is_none());
            check(caches, first, len);
        }
    }
}

#[test]
fn a_row_is_free_again_when_its_sequence_ends() {
    let mut all: Vec<_> = (0..4).map(|place| sequence(1000 * place, 10)).collect();
    let table = step(&mut all.iter_mut().collect::<Vec<_>>(), &[0, 1000, 2000, 3000]).unwrap();
    let slot = seat_of(&all[2]).unwrap().slot();
    // Longer than its own, so that nothing of it may be seen any more.
    all[2] = sequence(5000, 4);
    assert_eq!((table.borrow().taken(), table.borrow().slots()), (3, 4));
    let again = step(&mut all.iter_mut().collect::<Vec<_>>(), &[0, 1000, 5000, 3000]).unwrap();
    assert!(Rc::ptr_eq(&table, &again));
    assert_eq!((again.borrow().taken(), again.borrow().slots()), (4, 4));
    assert_eq!(seat_of(&all[2]).unwrap().slot(), slot);
    check(&all[2], 5000, 5);
    check(&all[0], 0, 12);
}

#[test]
fn a_row_that_is_full_and_waits_is_nobodys_ruin() {
    // The first fills its row with its next token, and takes no part in the steps behind that.
    let mut all: Vec<_> =
        [(0, 263), (1000, 260), (2000, 261)].into_iter().map(|(first, len)| sequence(first, len)).collect();
    let table = step(&mut all.iter_mut().collect::<Vec<_>>(), &[0, 1000, 2000]).unwrap();
    assert_eq!(table.borrow().room, 264, "its row is full");
    for _ in 0..4 {
        step(&mut all[1..].iter_mut().collect::<Vec<_>>(), &[1000, 2000]).unwrap();
    }
    step(&mut all.iter_mut().collect::<Vec<_>>(), &[0, 1000, 2000]).unwrap();
    check(&all[0], 0, 265);
    check(&all[1], 1000, 266);
    check(&all[2], 2000, 267);
}

#[test]
fn steps_write_in_place() {
    let mut all: Vec<_> = (0..4).map(|place| sequence(1000 * place, 200_000)).collect();
    let firsts = [0, 1000, 2000, 3000];
    let mut step = || step(&mut all.iter_mut().collect::<Vec<_>>(), &firsts).unwrap();
    step();
    let active = mlx_rs::memory::active_memory().unwrap();
    mlx_rs::memory::reset_peak_memory().unwrap();
    for _ in 0..5 {
        step();
    }
    let one = 4 * 200_000 * size_of::<f32>();
    let peak = mlx_rs::memory::peak_memory().unwrap();
    // Which tokens are seen is a byte for each.
    assert!(peak < active + one, "{peak} bytes at most, {active} before");
}

#[test]
fn sequences_sit_where_their_lengths_are_alike() {
    let sitting = |lens: &[Option<i32>]| -> Vec<usize> {
        sitters(lens).into_iter().enumerate().filter_map(|(row, sits)| sits.then_some(row)).collect()
    };
    assert!(sitting(&[]).is_empty());
    assert!(sitting(&[Some(100)]).is_empty());
    assert!(sitting(&[Some(100), None]).is_empty());
    assert_eq!(sitting(&[Some(100), None, Some(255)]), [0, 2]);
    // Two rows for 8200 are more than half as much again as what 9 and 8200 take; four beside 5000 and twice 6000 are not.
    assert!(sitting(&[Some(8200), Some(9)]).is_empty());
    assert_eq!(sitting(&[Some(9), Some(8200), Some(10)]), [0, 2]);
    assert_eq!(sitting(&[Some(5000), Some(8200), Some(6000), Some(6000)]), [0, 1, 2, 3]);
    assert_eq!(sitting(&[Some(9), Some(8200), Some(300), Some(400), Some(10), Some(300)]), [0, 2, 3, 4, 5]);
}

#[test]
fn tables_get_rows_in_growing_steps() {
    let slots = [1, 2, 3, 4, 7, 8, 9, 12, 16, 17, 33, 36, 64].map(slots_for);
    assert_eq!(slots, [1, 2, 3, 4, 7, 8, 10, 12, 16, 20, 40, 40, 64]);
    for count in 1..500 {
        assert!((count..=count + count / 4).contains(&slots_for(count)), "{count}");
    }
}
