import { defineConfig } from 'vitest/config'
import { unit } from './unit.js'

// What Stryker runs against each change: the unit tests alone, but for what looks at the text of comments.
export default defineConfig({
  ...unit,
  test: {
    ...unit.test,
    exclude: ['node_modules', 'shared/testing/lines.test.ts'],
    setupFiles: ['conformance/runner/mutants.setup.ts'],
  },
})
