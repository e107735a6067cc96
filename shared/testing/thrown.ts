import { CniError } from '../values/errors.js'

/** The CNI error that a body throws; anything else, or nothing, fails the test. */
export function thrownBy(body: () => unknown): CniError {
  try {
    body()
  } catch (thrown) {
    if (thrown instanceof CniError) return thrown
    throw thrown
  }
  throw new Error('nothing was thrown')
}
