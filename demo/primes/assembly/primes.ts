// AssemblyScript: the syntax of TypeScript and the types of a machine, compiled to WebAssembly.

// Numbers below this one can be asked about; it fixes the size of the sieve.
export const LIMIT: u32 = 10_000_000;

// One byte for each number, in the module's own memory: is it composite?
const sieve: usize = memory.data(LIMIT);

// How many primes are less than `below`, which is at most LIMIT.
export function count(below: u32): u32 {
  strike(below);
  let found: u32 = 0;
  for (let n: u32 = 2; n < below; n++) {
    if (!isComposite(n)) found++;
  }
  return found;
}

// The largest prime less than `below`, which is at most LIMIT; 0 where there is none.
export function largest(below: u32): u32 {
  strike(below);
  for (let n: u32 = below; n > 2; n--) {
    if (!isComposite(n - 1)) return n - 1;
  }
  return 0;
}

// The sieve of Eratosthenes: strike out every multiple of every prime, beginning at its square.
function strike(below: u32): void {
  memory.fill(sieve, 0, below);
  for (let prime: u32 = 2; prime * prime < below; prime++) {
    if (isComposite(prime)) continue;
    for (let multiple = prime * prime; multiple < below; multiple += prime) {
      store<bool>(sieve + multiple, true);
    }
  }
}

function isComposite(n: u32): bool {
  return load<bool>(sieve + n);
}
