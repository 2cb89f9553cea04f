;; Conway's Life, 128 generations on a torus of 128x128 cells; how many are alive.
;; Memory: the cells at 0 and at 16384, a byte each.
(module
  (memory 1)
  (func (export "run") (result i32)
    (local $x i32) (local $y i32) (local $up i32) (local $row i32) (local $down i32) (local $left i32)
    (local $right i32) (local $alive i32) (local $from i32) (local $to i32) (local $time i32)
    (loop $fill
      (i32.store8 (local.get $x)
        (i32.eqz
          (i32.rem_u
            (i32.shr_u
              (i32.add
                (i32.mul (i32.mul (local.get $x) (local.get $x)) (i32.const 31))
                (i32.mul (local.get $x) (i32.const 7)))
              (i32.const 4))
            (i32.const 3))))
      (local.set $x (i32.add (local.get $x) (i32.const 1)))
      (br_if $fill (i32.lt_u (local.get $x) (i32.const 16384))))
    (local.set $to (i32.const 16384))
    (loop $times
      (local.set $y (i32.const 0))
      (loop $rows
        (local.set $up
          (i32.add (local.get $from)
            (i32.shl (i32.and (i32.sub (local.get $y) (i32.const 1)) (i32.const 127)) (i32.const 7))))
        (local.set $row (i32.add (local.get $from) (i32.shl (local.get $y) (i32.const 7))))
        (local.set $down
          (i32.add (local.get $from)
            (i32.shl (i32.and (i32.add (local.get $y) (i32.const 1)) (i32.const 127)) (i32.const 7))))
        (local.set $x (i32.const 0))
        (loop $cells
          (local.set $left (i32.and (i32.sub (local.get $x) (i32.const 1)) (i32.const 127)))
          (local.set $right (i32.and (i32.add (local.get $x) (i32.const 1)) (i32.const 127)))
          (local.set $alive
            (i32.add
              (i32.add
                (i32.add
                  (i32.load8_u (i32.add (local.get $up) (local.get $left)))
                  (i32.load8_u (i32.add (local.get $up) (local.get $x))))
                (i32.add
                  (i32.load8_u (i32.add (local.get $up) (local.get $right)))
                  (i32.load8_u (i32.add (local.get $row) (local.get $left)))))
              (i32.add
                (i32.add
                  (i32.load8_u (i32.add (local.get $row) (local.get $right)))
                  (i32.load8_u (i32.add (local.get $down) (local.get $left))))
                (i32.add
                  (i32.load8_u (i32.add (local.get $down) (local.get $x)))
                  (i32.load8_u (i32.add (local.get $down) (local.get $right)))))))
          (i32.store8
            (i32.add (i32.add (i32.shl (local.get $y) (i32.const 7)) (local.get $x)) (local.get $to))
            (i32.eq
              (i32.or (local.get $alive) (i32.load8_u (i32.add (local.get $row) (local.get $x))))
              (i32.const 3)))
          (local.set $x (i32.add (local.get $x) (i32.const 1)))
          (br_if $cells (i32.lt_u (local.get $x) (i32.const 128))))
        (local.set $y (i32.add (local.get $y) (i32.const 1)))
        (br_if $rows (i32.lt_u (local.get $y) (i32.const 128))))
      (local.set $x (local.get $from))
      (local.set $from (local.get $to))
      (local.set $to (local.get $x))
      (local.set $time (i32.add (local.get $time) (i32.const 1)))
      (br_if $times (i32.lt_u (local.get $time) (i32.const 128))))
    (local.set $alive (i32.const 0))
    (local.set $x (i32.const 0))
    (loop $add
      (local.set $alive
        (i32.add (local.get $alive) (i32.load8_u (i32.add (local.get $x) (local.get $from)))))
      (local.set $x (i32.add (local.get $x) (i32.const 1)))
      (br_if $add (i32.lt_u (local.get $x) (i32.const 16384))))
    (local.get $alive)))
