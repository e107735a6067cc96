import { defineConfig } from 'vitest/config'
import { unit } from './unit.js'

// What Stryker runs against each change: the unit tests alone, but for what looks at the text of comments and pages.
// TESTS=plugins/portmap takes those of one part, which is quicker and notices less.
const { TESTS } = process.env

export default defineConfig({
  ...unit,
  test: {
    ...unit.test,
    ...(TESTS ? { include: [`${TESTS}/**/*.test.ts`] } : {}),
    exclude: ['node_modules', 'shared/testing/{lines,pages}.test.ts'],
    setupFiles: ['conformance/runner/mutants.setup.ts'],
  },
})
