import { defineConfig } from 'vitest/config'
import { unit } from './unit.js'

// What Stryker runs against each change: the unit tests alone.
export default defineConfig({ ...unit, test: { ...unit.test, setupFiles: ['conformance/runner/mutants.setup.ts'] } })
