import { test as base } from 'vitest'
import { Host } from './host.js'

/** `test` with a throw-away host that is gone when the test ends, also when it fails. */
export const test = base.extend<{ host: Host }>({
  host: async ({ task }, use) => {
    const host = await Host.create()
    task.meta.calls = host.calls
    await use(host)
    await host.dispose()
  },
})
