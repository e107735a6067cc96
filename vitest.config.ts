import { defineConfig } from 'vitest/config'
import { Coverage } from './conformance/runner/coverage.js'
import { patience, retry } from './conformance/runner/patience.js'
import { MachineFirst } from './conformance/runner/sequencer.js'
import { Summary } from './conformance/runner/summary.js'
import { unit, unitPlain } from './conformance/runner/unit.js'
import { virtualModulesPlugin } from './conformance/runner/vite.js'
import { nodeFlags } from './shared/heap/flags.js'

/** As `make test-vm` asks for it. */
const isInMachines = process.env['PODWIRE_ALL_IN_VM'] === '1'

export default defineConfig({
  test: {
    reporters: ['default', new Coverage(), new Summary()],
    sequence: { sequencer: MachineFirst },
    projects: [
      unit,
      unitPlain,
      {
        plugins: [virtualModulesPlugin()],
        test: {
          name: 'conformance',
          include: ['conformance/**/*.test.ts'],
          exclude: ['conformance/**/*.vm.test.ts', ...(isInMachines ? [] : ['conformance/arm64/machine.test.ts'])],
          globalSetup: 'conformance/setup/global.ts',
          execArgv: nodeFlags,
          testTimeout: patience,
          hookTimeout: patience,
          retry,
          maxWorkers: 2,
          // After the unit tests, not beside them: these wait for real processes.
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
