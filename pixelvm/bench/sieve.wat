;; How many primes there are below 500,000, by the sieve of Eratosthenes, four times over.
(module
  (memory 8)
  (func (export "run") (result i32)
    (local $i i32) (local $j i32) (local $count i32) (local $time i32)
    (loop $again
      (local.set $i (i32.const 0))
      (loop $clear
        (i32.store8 (local.get $i) (i32.const 0))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $clear (i32.lt_u (local.get $i) (i32.const 500000))))
      (local.set $i (i32.const 2))
      (loop $next
        (if (i32.eqz (i32.load8_u (local.get $i)))
          (then
            (local.set $j (i32.mul (local.get $i) (local.get $i)))
            (loop $strike
              (i32.store8 (local.get $j) (i32.const 1))
              (local.set $j (i32.add (local.get $j) (local.get $i)))
              (br_if $strike (i32.lt_u (local.get $j) (i32.const 500000))))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $next (i32.lt_u (i32.mul (local.get $i) (local.get $i)) (i32.const 500000))))
      (local.set $i (i32.const 2))
      (loop $look
        (local.set $count (i32.add (local.get $count) (i32.eqz (i32.load8_u (local.get $i)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $look (i32.lt_u (local.get $i) (i32.const 500000))))
      (local.set $time (i32.add (local.get $time) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $time) (i32.const 4))))
    (local.get $count)))
