;; The product of two 64x64 matrices, added up 32 times over; the sum of its elements.
;; Memory: the matrices at 0, 16384 and 32768, words row by row.
(module
  (memory 1)
  (func (export "run") (result i32)
    (local $i i32) (local $j i32) (local $k i32) (local $row i32) (local $sum i32) (local $time i32)
    (loop $fill
      (i32.store (i32.shl (local.get $i) (i32.const 2))
        (i32.and (i32.mul (local.get $i) (i32.const 7)) (i32.const 255)))
      (i32.store offset=16384 (i32.shl (local.get $i) (i32.const 2))
        (i32.and (i32.mul (local.get $i) (i32.const 13)) (i32.const 255)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $fill (i32.lt_u (local.get $i) (i32.const 4096))))
    (loop $times
      (local.set $i (i32.const 0))
      (loop $rows
        (local.set $row (i32.shl (local.get $i) (i32.const 6)))
        (local.set $j (i32.const 0))
        (loop $columns
          (local.set $sum (i32.const 0))
          (local.set $k (i32.const 0))
          (loop $product
            (local.set $sum
              (i32.add
                (local.get $sum)
                (i32.mul
                  (i32.load (i32.shl (i32.add (local.get $row) (local.get $k)) (i32.const 2)))
                  (i32.load offset=16384
                    (i32.shl (i32.add (i32.shl (local.get $k) (i32.const 6)) (local.get $j)) (i32.const 2))))))
            (local.set $k (i32.add (local.get $k) (i32.const 1)))
            (br_if $product (i32.lt_u (local.get $k) (i32.const 64))))
          (i32.store offset=32768 (i32.shl (i32.add (local.get $row) (local.get $j)) (i32.const 2))
            (i32.add
              (i32.load offset=32768 (i32.shl (i32.add (local.get $row) (local.get $j)) (i32.const 2)))
              (local.get $sum)))
          (local.set $j (i32.add (local.get $j) (i32.const 1)))
          (br_if $columns (i32.lt_u (local.get $j) (i32.const 64))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $rows (i32.lt_u (local.get $i) (i32.const 64))))
      (local.set $time (i32.add (local.get $time) (i32.const 1)))
      (br_if $times (i32.lt_u (local.get $time) (i32.const 32))))
    (local.set $sum (i32.const 0))
    (local.set $i (i32.const 0))
    (loop $add
      (local.set $sum (i32.add (local.get $sum) (i32.load offset=32768 (i32.shl (local.get $i) (i32.const 2)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $add (i32.lt_u (local.get $i) (i32.const 4096))))
    (local.get $sum)))
