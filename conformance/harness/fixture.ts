import { test as base, vi } from 'vitest'
import { Host } from './host.js'

// Binaries are started, not functions called: a busy machine needs more than vitest's five seconds.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

/** `test` with a throw-away host that is gone when the test ends, also when it fails. */
export const test = base.extend<{ host: Host }>({
  // biome-ignore lint/correctness/noEmptyPattern: vitest reads the fixture's needs from this pattern
  host: async ({}, use) => {
    const host = await Host.create()
    await use(host)
    await host.dispose()
  },
})
